// SPDX-License-Identifier: GPL-2.0
// Which lines of a log are said too often. Pure.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>

namespace izo::log {

/// Lets the same line through five times within ten seconds; the next one after those tells how
/// many were not.
class RepeatFilter {
 public:
  static constexpr std::chrono::seconds kWindow{10};
  static constexpr std::uint64_t kBurst = 5;
  /// Lines remembered; beyond it all are forgotten, and some may come once more than they should.
  static constexpr std::size_t kMost = 256;

  struct Verdict {
    bool write = true;
    std::uint64_t unsaid = 0;  ///< Times it was not written since it last was.
  };

  /// The line comes once more, at `now`, which never goes back.
  Verdict judge(std::string_view line, std::chrono::nanoseconds now);

 private:
  struct Seen {
    std::chrono::nanoseconds since{};
    std::uint64_t times = 0;
    std::uint64_t unsaid = 0;
  };
  std::unordered_map<std::string, Seen> seen_;
};

}  // namespace izo::log
