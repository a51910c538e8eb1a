// SPDX-License-Identifier: GPL-2.0
// libFuzzer: any bytes as a stream of frames. frame_fuzz -max_total_time=20 CORPUS
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "kml/codec.h"
#include "kml/wire.h"
#include "proto/frame.h"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t most);

namespace {

using namespace izo::proto;  // NOLINT(google-build-using-namespace): a program of one file

constexpr std::uint64_t kMost = std::uint64_t{16} << 20;

void require(bool condition, const char* what) {
  if (!condition) {
    std::fprintf(stderr, "frame_fuzz: %s\n", what);
    std::abort();
  }
}

/// Makes right what the frame's head says of itself.
void seal(std::uint8_t* data, std::size_t size) {
  const auto put = [&](std::size_t at, std::uint32_t value) {
    value = izo::kml::little(value);
    std::memcpy(data + at, &value, sizeof(value));
  };
  const auto length = static_cast<std::uint32_t>(size - kFrameHead);
  put(0, 0x464f5a49);
  data[5] &= 1;
  data[6] = data[7] = 0;
  put(8, length);
  if (data[5] == 0) {
    put(12, length);
  }
  put(20, 0);
  put(16, izo::kml::crc32c_without(std::as_bytes(std::span(data, size)), 16));
}

/// A frame with zstd in it, of what is there: mutation alone never finds one. Returns its length.
std::size_t compress(std::uint8_t* data, std::size_t size, std::size_t most) {
  const Bytes bytes = std::as_bytes(std::span(data, size));
  std::vector<std::byte> payload(bytes.begin(), bytes.end());
  payload.insert(payload.end(), 600, std::byte{7});
  std::vector<std::byte> out;
  FrameWriter(1).add(out, 1, payload);
  if (out.size() > most) {
    return size;
  }
  std::memcpy(data, out.data(), out.size());
  return out.size();
}

/// The frames of a stream fed in pieces of `piece` bytes, and what ended it.
std::pair<std::vector<Frame>, std::string> read_all(Bytes bytes, std::size_t piece) {
  FrameReader reader(kMost);
  std::vector<Frame> frames;
  while (!bytes.empty()) {
    reader.feed(bytes.first(std::min(piece, bytes.size())));
    bytes = bytes.subspan(std::min(piece, bytes.size()));
    for (;;) {
      FrameReader::Next next = reader.next();
      if (auto* corrupt = std::get_if<Corrupt>(&next)) {
        return {frames, corrupt->what};
      }
      if (const auto* more = std::get_if<NeedMore>(&next)) {
        require(more->at_least > reader.waiting() && more->at_least <= kFrameHead + kMaxPayload,
                "asks for a wrong number of bytes");
        break;
      }
      frames.push_back(std::get<Frame>(std::move(next)));
    }
  }
  return {frames, "end"};
}

}  // namespace

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t most, unsigned seed) {
  size = LLVMFuzzerMutate(data, size, most);
  if (seed % 8 == 1) {
    return compress(data, size, most);
  }
  // Most of the time with a right head, or zstd would never see anything.
  if (seed % 8 != 0 && size >= kFrameHead) {
    seal(data, size);
  }
  return size;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes bytes = std::as_bytes(std::span(data, size));
  const auto [frames, end] = read_all(bytes, std::max<std::size_t>(size, 1));
  require(read_all(bytes, 37) == std::pair(frames, end), "pieces make a difference");
  std::uint64_t total = 0;
  for (const Frame& frame : frames) {
    total += frame.payload.size();
    for (const int level : {0, 1}) {
      std::vector<std::byte> again;
      FrameWriter(level).add(again, frame.type, frame.payload);
      require(read_all(again, again.size()).first == std::vector{frame},
              "a frame changed by being written");
    }
  }
  require(total <= kMost, "more than was asked for");
  return 0;
}
