// SPDX-License-Identifier: GPL-2.0
#include "tools/copied_log.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "kml/codec.h"
#include "kml/wire.h"

namespace izo::tools {

CopiedLog::CopiedLog(std::string name, UniqueFd fd) : name_(std::move(name)), fd_(std::move(fd)) {
  std::array<std::byte, sizeof(izo_kml_header)> bytes{};
  const std::size_t count = read_on(bytes);
  // What does not begin as a log never was one; what does may have been cut off or altered.
  if (count < sizeof(std::uint64_t) ||
      kml::little(kml::load<std::uint64_t>(bytes)) != IZO_KML_HEADER_MAGIC) {
    throw Error(name_ + ": it is no log, no ext image and no cache");
  }
  kml::DecodedHeader decoded = kml::decode_header(std::span(bytes).first(count));
  if (std::holds_alternative<kml::NeedMore>(decoded)) {
    throw Damaged(name_ + ": offset 0: cut off within the header of a log");
  }
  if (const auto* corrupt = std::get_if<kml::Corrupt>(&decoded)) {
    throw Damaged(name_ + ": offset 0: " + corrupt->what);
  }
  header_ = std::get<kml::Header>(std::move(decoded));
  offset_ = header_.first;
}

/// As many bytes as there are room for, fewer at the end only.
std::size_t CopiedLog::read_on(std::span<std::byte> into) {
  std::size_t done = 0;
  while (done < into.size()) {
    const ssize_t count = ::read(fd_.get(), &into[done], into.size() - done);
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count < 0) {
      throw SysError(errno, "read", name_);
    }
    if (count == 0) {
      break;
    }
    done += static_cast<std::size_t>(count);
  }
  return done;
}

std::optional<std::size_t> CopiedLog::read(std::uint64_t offset, std::span<std::byte> into) {
  while (offset_ < offset) {
    const auto part = std::min<std::uint64_t>(offset - offset_, into.size());
    const std::size_t count = read_on(into.first(part));
    if (count == 0) {
      throw Error(name_ + ": offset " + std::to_string(offset) + " lies beyond the log's end, " +
                  std::to_string(offset_));
    }
    offset_ += count;
  }
  const std::size_t count = read_on(into);
  offset_ += count;
  return count;
}

}  // namespace izo::tools
