// SPDX-License-Identifier: GPL-2.0
#include "base/clock.h"

#include <ctime>

namespace izo {
namespace {

std::chrono::nanoseconds now(clockid_t id) {
  timespec time{};
  ::clock_gettime(id, &time);  // cannot fail: the three clocks are always there
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

}  // namespace

std::chrono::nanoseconds SystemClock::monotonic() const {
  return now(CLOCK_MONOTONIC);
}

std::chrono::nanoseconds SystemClock::boottime() const {
  return now(CLOCK_BOOTTIME);
}

std::chrono::nanoseconds SystemClock::wall() const {
  return now(CLOCK_REALTIME);
}

}  // namespace izo
