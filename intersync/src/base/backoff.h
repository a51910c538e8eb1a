// SPDX-License-Identifier: GPL-2.0
// How long to wait before the next try. Pure.
#pragma once

#include <chrono>

#include "base/random.h"

namespace izo {

/// Each delay is twice the one before, up to a limit; of each a random part of up to one half is
/// taken off, so that many clients of one server that came back do not all call at once.
class Backoff {
 public:
  struct Limits {
    std::chrono::milliseconds first{1000};
    std::chrono::milliseconds most{60000};
  };

  explicit Backoff(const Limits& limits) : limits_(limits), delay_(limits.first) {}

  /// The delay before the next try.
  std::chrono::milliseconds next(Random& random);
  /// A try succeeded: begins with the first delay again.
  void reset() { delay_ = limits_.first; }

 private:
  Limits limits_;
  std::chrono::milliseconds delay_;
};

}  // namespace izo
