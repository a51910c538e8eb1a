// SPDX-License-Identifier: GPL-2.0
// A clock for tests: it stands until it is moved.
#pragma once

#include <chrono>

#include "base/clock.h"

namespace izo::daemon {

class FakeClock final : public Clock {
 public:
  [[nodiscard]] std::chrono::nanoseconds monotonic() const override { return now; }
  [[nodiscard]] std::chrono::nanoseconds boottime() const override { return now; }
  [[nodiscard]] std::chrono::nanoseconds wall() const override { return now; }

  std::chrono::nanoseconds now{0};
};

}  // namespace izo::daemon
