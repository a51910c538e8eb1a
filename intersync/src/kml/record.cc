// SPDX-License-Identifier: GPL-2.0
#include "kml/record.h"

#include <array>
#include <cinttypes>
#include <cstdio>
#include <ctime>
#include <span>

namespace izo::kml {
namespace {

constexpr std::array<std::string_view, 7> kFlags{"exchange", "whiteout",   "whole",     "recovered",
                                                 "complete", "groups-cut", "xattrs-cut"};
constexpr std::array<std::string_view, 6> kAspects{"existence", "attr", "xattr",
                                                   "body",      "link", "times"};

std::vector<std::string_view> names_of_bits(std::uint32_t bits,
                                            std::span<const std::string_view> names) {
  std::vector<std::string_view> out;
  for (std::size_t bit = 0; bit < names.size(); bit++) {
    if ((bits >> bit & 1) != 0) {
      out.push_back(names[bit]);
    }
  }
  return out;
}

}  // namespace

bool is_name(std::string_view name) {
  constexpr std::size_t kLongest = 255;
  return !name.empty() && name.size() <= kLongest && name.find('/') == std::string_view::npos &&
         name.find('\0') == std::string_view::npos && name != "." && name != "..";
}

std::string to_string(const Fid& fid) {
  if (fid == kRootFid) {
    return "root";
  }
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), "%u:%" PRIu64 ":%08" PRIx32, unsigned{fid.replica},
                fid.ino, fid.generation);
  return text.data();
}

std::string to_string(const Time& time) {
  constexpr std::int64_t kYear1 = -62135596800;
  constexpr std::int64_t kYear10000 = 253402300800;
  std::array<char, 64> text{};
  if (time.seconds < kYear1 || time.seconds >= kYear10000) {
    std::snprintf(text.data(), text.size(), "@%" PRId64 "+%09" PRIu32, time.seconds,
                  time.nanoseconds);
    return text.data();
  }
  const std::time_t seconds = time.seconds;
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  std::snprintf(text.data(), text.size(), "%04d-%02d-%02dT%02d:%02d:%02d.%09" PRIu32 "Z",
                parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min,
                parts.tm_sec, time.nanoseconds);
  return text.data();
}

Time logged_at(const Record& record) {
  constexpr std::uint64_t kSecond = 1'000'000'000;
  return {.seconds = static_cast<std::int64_t>(record.time / kSecond),
          .nanoseconds = static_cast<std::uint32_t>(record.time % kSecond)};
}

std::vector<std::string_view> names_of_flags(std::uint32_t flags) {
  return names_of_bits(flags, kFlags);
}

std::vector<std::string_view> names_of_aspects(std::uint32_t aspects) {
  return names_of_bits(aspects, kAspects);
}

std::string_view name_of(Op op) {
  switch (op) {
    case Op::kCreate:
      return "create";
    case Op::kMkdir:
      return "mkdir";
    case Op::kMknod:
      return "mknod";
    case Op::kSymlink:
      return "symlink";
    case Op::kLink:
      return "link";
    case Op::kUnlink:
      return "unlink";
    case Op::kRmdir:
      return "rmdir";
    case Op::kRename:
      return "rename";
    case Op::kSetattr:
      return "setattr";
    case Op::kSetxattr:
      return "setxattr";
    case Op::kRemovexattr:
      return "removexattr";
    case Op::kClose:
      return "close";
  }
  return "unknown";
}

}  // namespace izo::kml
