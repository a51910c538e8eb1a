// SPDX-License-Identifier: GPL-2.0
#include "tools/cache_log.h"

#include <algorithm>

#include "base/error.h"
#include "kml/wire.h"

namespace izo::tools {
namespace {

using kml::little;

std::string uuid_bytes(const __u8 (&bytes)[16]) {
  return {std::begin(bytes), std::end(bytes)};
}

}  // namespace

CacheLog::CacheLog(std::string name, ReadFile read_file, std::string warning)
    : name_(std::move(name)), read_file_(std::move(read_file)), warning_(std::move(warning)) {
  read_control();
  find_segments();
  header_.first = segments_.front().first;
  header_.first_recno = segments_.front().first_recno;
}

void CacheLog::read_control() {
  const std::optional<std::vector<std::byte>> bytes = read_file_("kml");
  if (!bytes) {
    throw Error(name_ + ": the fileset has no log yet");
  }
  if (bytes->size() < sizeof(izo_kml_control)) {
    throw Damaged(name_ + ": kml: cut off");
  }
  const kml::Bytes block = kml::Bytes(*bytes).first(sizeof(izo_kml_control));
  const auto control = kml::load<izo_kml_control>(block);
  if (little(control.magic) != IZO_CONTROL_MAGIC || little(control.version) != IZO_KML_VERSION ||
      little(control.crc) != kml::crc32c_without(block, offsetof(izo_kml_control, crc))) {
    throw Damaged(name_ + ": kml: magic, version or checksum of the control block is wrong");
  }
  header_ = {.fileset = uuid_bytes(control.fileset),
             .replica = uuid_bytes(control.replica),
             .self = little(control.self),
             .block_size = little(control.block_size),
             .flags = little(control.flags),
             .epoch = little(control.epoch)};
  segment_size_ = little(control.segment_size);
  trimmed_ = little(control.trimmed);
  if (header_.block_size < sizeof(izo_segment) || segment_size_ <= header_.block_size ||
      segment_size_ % header_.block_size != 0) {
    throw Damaged(name_ + ": kml: the control block has sizes that no log has");
  }
}

std::optional<CacheLog::Segment> CacheLog::judge(const std::string& name, kml::Bytes bytes) const {
  // What a crash left half made was never used.
  if (bytes.size() != segment_size_) {
    return std::nullopt;
  }
  const auto header = kml::load<izo_segment>(bytes);
  if (little(header.magic) != IZO_SEGMENT_MAGIC || little(header.version) != IZO_KML_VERSION ||
      little(header.epoch) != header_.epoch ||
      little(header.crc) !=
          kml::crc32c_without(bytes.first(sizeof(header)), offsetof(izo_segment, crc))) {
    return std::nullopt;
  }
  Segment segment{.name = name,
                  .base = little(header.base),
                  .first = little(header.first),
                  .first_recno = little(header.first_recno)};
  const bool right = segment.base % room() == 0 && segment.first >= segment.base &&
                     segment.first - segment.base <= room();
  return right ? std::optional(segment) : std::nullopt;
}

void CacheLog::find_segments() {
  std::vector<Segment> found;
  for (int number = 0;; number++) {
    const std::string name = "kml." + std::to_string(number);
    const std::optional<std::vector<std::byte>> bytes = read_file_(name);
    if (!bytes) {
      break;
    }
    if (std::optional<Segment> segment = judge(name, *bytes)) {
      found.push_back(*std::move(segment));
    }
  }
  if (found.empty()) {
    throw Damaged(name_ + ": no segment (kml.0, kml.1, ...) holds a part of the log");
  }
  std::ranges::sort(found, {}, &Segment::base);
  std::size_t oldest = found.size() - 1;
  while (oldest > 0 && found[oldest - 1].base + room() == found[oldest].base &&
         found[oldest].first > trimmed_) {
    oldest--;
  }
  segments_.assign(found.begin() + static_cast<std::ptrdiff_t>(oldest), found.end());
}

std::optional<std::size_t> CacheLog::read(std::uint64_t offset, std::span<std::byte> into) {
  const std::uint64_t end = segments_.back().base + room();
  if (offset > end) {
    throw Error(name_ + ": offset " + std::to_string(offset) +
                " lies beyond the log's segments, which end at " + std::to_string(end));
  }
  const auto segment = std::ranges::find_if(
      segments_, [&](const Segment& each) { return offset - each.base < room(); });
  if (segment == segments_.end()) {
    return 0;
  }
  if (loaded_ != segment->name) {
    bytes_ = read_file_(segment->name).value_or(std::vector<std::byte>{});
    if (bytes_.size() != segment_size_) {
      throw Error(name_ + ": " + segment->name + " is changing while it is read");
    }
    loaded_ = segment->name;
  }
  const kml::Bytes bytes = kml::Bytes(bytes_).subspan(offset - segment->base + header_.block_size);
  const std::size_t count = std::min(bytes.size(), into.size());
  std::copy_n(bytes.begin(), count, into.begin());
  return count;
}

bool CacheLog::may_end_at(std::uint64_t offset) const {
  return offset >= segments_.back().first;
}

}  // namespace izo::tools
