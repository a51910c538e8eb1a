// SPDX-License-Identifier: GPL-2.0
#include "base/repeat_filter.h"

#include <utility>

namespace izo::log {

RepeatFilter::Verdict RepeatFilter::judge(std::string_view line, std::chrono::nanoseconds now) {
  if (seen_.size() >= kMost) {
    seen_.clear();
  }
  Seen& seen = seen_[std::string(line)];
  if (seen.times == 0 || now - seen.since >= kWindow) {
    seen.since = now;
    seen.times = 1;
    return {.write = true, .unsaid = std::exchange(seen.unsaid, 0)};
  }
  seen.times++;
  if (seen.times > kBurst) {
    seen.unsaid++;
    return {.write = false};
  }
  return {};
}

}  // namespace izo::log
