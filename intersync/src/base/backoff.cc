// SPDX-License-Identifier: GPL-2.0
#include "base/backoff.h"

#include <algorithm>

namespace izo {

std::chrono::milliseconds Backoff::next(Random& random) {
  const std::chrono::milliseconds whole = std::min(delay_, limits_.most);
  delay_ = std::min(whole * 2, limits_.most);
  const auto half = static_cast<std::uint64_t>(whole.count() / 2);
  return whole - std::chrono::milliseconds(random.below(half + 1));
}

}  // namespace izo
