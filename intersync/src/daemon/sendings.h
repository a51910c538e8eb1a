// SPDX-License-Identifier: GPL-2.0
// Large bodies that are being sent, or were when their connections ended: so that a client can have
// the rest of one, if it is still what it was.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>

#include "base/clock.h"
#include "base/random.h"
#include "daemon/body_file.h"

namespace izo::daemon {

class Sendings {
 public:
  /// Both must live longer.
  Sendings(const Clock& clock, Random& random) : clock_(clock), random_(random) {}

  /// A number under which the rest of the body can be asked for; 0 if it is too small for that.
  /// Whoever sends it holds it.
  std::uint64_t add(const std::shared_ptr<BodyFile>& body);

  /// Its connection ended before it did: it is held open until nobody has asked for ten minutes,
  /// with 63 others at most. 0 is no body's number.
  void keep(std::uint64_t number);

  /// Lets go of what nobody asks for, and of files that were removed: their room is wanted.
  void forget_old();

  /// Is that what was sent under the number? Throws SysError.
  bool is_of(std::uint64_t number, const BodyFile& body);

 private:
  struct Sending {
    std::weak_ptr<BodyFile> body;
    std::shared_ptr<BodyFile> kept;
    std::chrono::nanoseconds touched{};
  };

  const Clock& clock_;
  Random& random_;
  std::map<std::uint64_t, Sending> sendings_;
};

}  // namespace izo::daemon
