// SPDX-License-Identifier: GPL-2.0
#include "repl/conflict_name.h"

#include <array>
#include <cstdio>

namespace izo::repl {
namespace {

constexpr std::string_view kMark = ".conflict-";
constexpr std::size_t kDigits = 8;
constexpr std::size_t kLongest = 255;

}  // namespace

std::string conflict_name(const std::string& name, const kml::Fid& fid, std::uint64_t number) {
  // FNV-1a. The maker's UUID is left out: inode, generation and number tell apart what wants one
  // name.
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (const std::uint64_t word : {fid.ino, std::uint64_t{fid.generation}, number}) {
    for (unsigned shift = 0; shift < 64; shift += 8) {
      hash = (hash ^ (word >> shift & 0xff)) * 0x100000001b3U;
    }
  }
  std::array<char, kDigits + 1> digits{};
  std::snprintf(digits.data(), digits.size(), "%08x", static_cast<unsigned>(hash ^ hash >> 32));
  // A second loss does not make the name longer.
  return original_name(name)
      .value_or(name)
      .substr(0, kLongest - kMark.size() - kDigits)
      .append(kMark)
      .append(digits.data());
}

std::optional<std::string> original_name(std::string_view name) {
  if (name.size() <= kMark.size() + kDigits) {
    return std::nullopt;
  }
  const std::string_view tail = name.substr(name.size() - kMark.size() - kDigits);
  if (!tail.starts_with(kMark) ||
      tail.substr(kMark.size()).find_first_not_of("0123456789abcdef") != std::string_view::npos) {
    return std::nullopt;
  }
  return std::string(name.substr(0, name.size() - tail.size()));
}

}  // namespace izo::repl
