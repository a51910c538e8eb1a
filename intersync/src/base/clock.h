// SPDX-License-Identifier: GPL-2.0
// Time as an interface, so that a simulation can have its own.
#pragma once

#include <chrono>

namespace izo {

class Clock {
 public:
  Clock() = default;
  Clock(const Clock&) = delete;
  Clock& operator=(const Clock&) = delete;
  virtual ~Clock() = default;

  /// Since some start; never goes back; stands still while the machine sleeps. For time-outs.
  [[nodiscard]] virtual std::chrono::nanoseconds monotonic() const = 0;
  /// The same, but goes on while the machine sleeps. For leases.
  [[nodiscard]] virtual std::chrono::nanoseconds boottime() const = 0;
  /// Since 1970; may jump. For people: nothing is ordered by it.
  [[nodiscard]] virtual std::chrono::nanoseconds wall() const = 0;
};

/// The kernel's clocks. Any thread.
class SystemClock final : public Clock {
 public:
  [[nodiscard]] std::chrono::nanoseconds monotonic() const override;
  [[nodiscard]] std::chrono::nanoseconds boottime() const override;
  [[nodiscard]] std::chrono::nanoseconds wall() const override;
};

}  // namespace izo
