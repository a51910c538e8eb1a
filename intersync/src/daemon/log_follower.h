// SPDX-License-Identifier: GPL-2.0
// The upcalls of a channel: when the fileset's log has grown, and when it is to be brought onto the
// medium.
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "base/clock.h"
#include "base/main_loop.h"
#include "kernel/channel.h"

namespace izo::daemon {

class LogFollower {
 public:
  struct Events {
    std::function<void()> grew;         ///< There is something new on the medium.
    std::function<bool()> is_followed;  ///< Shall it come there soon?
    /// Brings the log onto the medium. May throw Error.
    std::function<void()> commit;
    std::function<void()> gone;  ///< The fileset is not mounted any more.
  };
  /// How soon after the first record that nobody was shipped its commit is asked for, and how long
  /// after the one before at the earliest.
  struct Delays {
    std::chrono::milliseconds commit{10};
    std::chrono::milliseconds between{20};
  };

  /// Of the fileset of that name. `loop` and `clock` must live longer.
  LogFollower(MainLoop& loop, const Clock& clock, std::string fileset, kernel::Channel channel,
              const Delays& delays, Events events);

  /// Somebody follows the log from now on: what came to it before shall be on the medium soon too.
  void follow();

 private:
  void read_all();
  void on(const kernel::Mounted& mounted);
  void on(const kernel::Gone& gone);
  void on(const kernel::KmlGrew& grew);
  void commit_soon();
  void commit();

  MainLoop& loop_;
  const Clock& clock_;
  std::string fileset_;
  Delays delays_;
  Events events_;
  kernel::Channel channel_;
  MainLoop::Handle watch_;
  MainLoop::Handle due_;
  std::chrono::nanoseconds committed_{};  // when
  bool uncommitted_ = true;               // there may be records that are not on the medium
};

}  // namespace izo::daemon
