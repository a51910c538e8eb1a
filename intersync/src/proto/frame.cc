// SPDX-License-Identifier: GPL-2.0
#include "proto/frame.h"

#include <zstd.h>

#include <new>
#include <stdexcept>
#include <utility>

#include "kml/codec.h"
#include "kml/wire.h"

namespace izo::proto {
namespace {

using kml::little;

constexpr std::uint32_t kMagic = 0x464f5a49;  // "IZOF"
constexpr std::uint8_t kStored = 0;
constexpr std::uint8_t kZstd = 1;
/// Shorter ones gain nothing.
constexpr std::size_t kWorthIt = 512;

/// The head of a frame, little-endian.
struct Head {
  std::uint32_t magic;
  std::uint8_t type;
  std::uint8_t encoding;
  std::uint16_t zero;
  std::uint32_t length;  // of the payload as sent
  std::uint32_t raw;     // of the payload before compression
  std::uint32_t crc;     // CRC-32C of head and payload, this field taken as 0
  std::uint32_t zero2;
};
static_assert(sizeof(Head) == kFrameHead);

void check_memory(const void* pointer) {
  if (pointer == nullptr) {
    throw std::bad_alloc();
  }
}

/// What is wrong with a head; empty if nothing.
std::string_view fault_of(const Head& head) {
  const std::uint32_t length = little(head.length);
  const std::uint32_t raw = little(head.raw);
  if (little(head.magic) != kMagic) {
    return "no frame begins here";
  }
  if (head.encoding > kZstd) {
    return "the frame has an unknown encoding";
  }
  if (head.zero != 0 || head.zero2 != 0) {
    return "a reserved field of the frame is not zero";
  }
  if (length > kMaxPayload || raw > kMaxPayload) {
    return "the frame is too long";
  }
  if (head.encoding == kStored ? length != raw : length >= raw) {
    return "the frame's lengths do not fit each other";
  }
  return {};
}

}  // namespace

struct FrameWriter::Context {
  struct Free {
    void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
  };
  int level = 0;
  std::unique_ptr<ZSTD_CCtx, Free> zstd;
  std::vector<std::byte> packed;
};

FrameWriter::FrameWriter(int level) : context_(std::make_unique<Context>()) {
  context_->level = level;
  if (level != 0) {
    context_->zstd.reset(ZSTD_createCCtx());
    check_memory(context_->zstd.get());
  }
}

FrameWriter::~FrameWriter() = default;

void FrameWriter::add(std::vector<std::byte>& out, std::uint8_t type, Bytes payload) {
  if (payload.size() > kMaxPayload) {
    throw std::length_error("a frame's payload has at most 4 MiB");
  }
  Head head{.magic = little(kMagic),
            .type = type,
            .encoding = kStored,
            .zero = 0,
            .length = 0,
            .raw = little(static_cast<std::uint32_t>(payload.size())),
            .crc = 0,
            .zero2 = 0};
  if (context_->zstd && payload.size() >= kWorthIt) {
    // No more room than it may take: what does not shrink by a sixteenth is sent as it is.
    std::vector<std::byte>& packed = context_->packed;
    packed.resize(payload.size() - payload.size() / 16);
    const std::size_t length = ZSTD_compressCCtx(context_->zstd.get(), packed.data(), packed.size(),
                                                 payload.data(), payload.size(), context_->level);
    if (ZSTD_isError(length) == 0) {
      head.encoding = kZstd;
      payload = Bytes(packed).first(length);
    }
  }
  head.length = little(static_cast<std::uint32_t>(payload.size()));
  const std::size_t start = out.size();
  kml::append(out, head);
  out.insert(out.end(), payload.begin(), payload.end());
  head.crc = little(kml::crc32c_without(Bytes(out).subspan(start), offsetof(Head, crc)));
  std::memcpy(&out[start + offsetof(Head, crc)], &head.crc, sizeof(head.crc));
}

struct FrameReader::Context {
  struct Free {
    void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
  };
  std::unique_ptr<ZSTD_DCtx, Free> zstd;

  /// Exactly `raw` bytes from one whole zstd frame; nullopt if it is anything else.
  std::optional<std::vector<std::byte>> unpack(Bytes packed, std::size_t raw) const {
    if (ZSTD_findFrameCompressedSize(packed.data(), packed.size()) != packed.size() ||
        ZSTD_getFrameContentSize(packed.data(), packed.size()) != raw) {
      return std::nullopt;
    }
    std::vector<std::byte> payload(raw);
    const std::size_t length = ZSTD_decompressDCtx(zstd.get(), payload.data(), payload.size(),
                                                   packed.data(), packed.size());
    if (ZSTD_isError(length) != 0 || length != raw) {
      return std::nullopt;
    }
    return payload;
  }
};

FrameReader::FrameReader(std::uint64_t most) : context_(std::make_unique<Context>()), left_(most) {
  context_->zstd.reset(ZSTD_createDCtx());
  check_memory(context_->zstd.get());
}

FrameReader::~FrameReader() = default;

void FrameReader::feed(Bytes bytes) {
  // What was used goes once it is the larger part, so that each byte is moved at most once.
  if (used_ > buffer_.size() / 2) {
    buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(used_));
    used_ = 0;
  }
  buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
}

FrameReader::Next FrameReader::stop(std::string what) {
  corrupt_ = Corrupt{"offset " + std::to_string(offset_) + ": " + std::move(what)};
  return *corrupt_;
}

FrameReader::Next FrameReader::next() {
  if (corrupt_) {
    return *corrupt_;
  }
  const Bytes bytes = Bytes(buffer_).subspan(used_);
  if (bytes.size() < kFrameHead) {
    return NeedMore{kFrameHead};
  }
  // The head is judged before its payload is waited for.
  const auto head = kml::load<Head>(bytes);
  if (const std::string_view fault = fault_of(head); !fault.empty()) {
    return stop(std::string(fault));
  }
  if (little(head.raw) > left_) {
    return stop("more comes than was asked for");
  }
  const std::size_t whole = kFrameHead + little(head.length);
  if (bytes.size() < whole) {
    return NeedMore{whole};
  }
  return take(bytes.first(whole));
}

FrameReader::Next FrameReader::take(Bytes frame) {
  const auto head = kml::load<Head>(frame);
  const Bytes sent = frame.subspan(kFrameHead);
  if (kml::crc32c_without(frame, offsetof(Head, crc)) != little(head.crc)) {
    return stop("the frame's checksum is wrong");
  }
  Frame result{.type = head.type};
  if (head.encoding == kStored) {
    result.payload.assign(sent.begin(), sent.end());
  } else if (std::optional<std::vector<std::byte>> raw = context_->unpack(sent, little(head.raw))) {
    result.payload = *std::move(raw);
  } else {
    return stop("the frame does not decompress to what it says");
  }
  left_ -= result.payload.size();
  used_ += frame.size();
  offset_ += frame.size();
  return result;
}

}  // namespace izo::proto
