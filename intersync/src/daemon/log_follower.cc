// SPDX-License-Identifier: GPL-2.0
#include "daemon/log_follower.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "base/error.h"
#include "base/log.h"

namespace izo::daemon {

LogFollower::LogFollower(MainLoop& loop, const Clock& clock, std::string fileset,
                         kernel::Channel channel, const Delays& delays, Events events)
    : loop_(loop),
      clock_(clock),
      fileset_(std::move(fileset)),
      delays_(delays),
      events_(std::move(events)),
      channel_(std::move(channel)),
      watch_(loop.watch(channel_.fd(), MainLoop::kReadable, [this](unsigned) { read_all(); })) {}

void LogFollower::read_all() {
  while (const std::optional<kernel::Upcall> upcall = channel_.read()) {
    std::visit([this](const auto& one) { on(one); }, *upcall);
  }
}

void LogFollower::on(const kernel::Mounted& mounted) {
  log::debug(log::kUpcall, "mounted: ", mounted.about.name, mounted.read_only ? " read-only" : "");
  channel_.answer(mounted.about.id);
}

void LogFollower::on(const kernel::Gone& gone) {
  log::debug(log::kUpcall, "gone: ", gone.about.name);
  if (gone.about.name == fileset_) {
    events_.gone();
  }
}

void LogFollower::on(const kernel::KmlGrew& grew) {
  log::debug(log::kUpcall, "the log of ", grew.about.name, " has records up to ", grew.recno, ", ",
             grew.committed_recno, " on the medium");
  if (grew.about.name != fileset_) {
    return;
  }
  uncommitted_ = grew.has_uncommitted();
  events_.grew();
  follow();
}

void LogFollower::follow() {
  if (uncommitted_) {
    commit_soon();
  }
}

void LogFollower::commit_soon() {
  if (due_.active() || !events_.is_followed()) {
    return;
  }
  const auto since =
      std::chrono::duration_cast<std::chrono::milliseconds>(clock_.monotonic() - committed_);
  due_ = loop_.after(std::max(delays_.commit, delays_.between - since), [this] {
    due_.reset();
    commit();
  });
}

void LogFollower::commit() {
  uncommitted_ = false;
  try {
    events_.commit();
  } catch (const Error& error) {
    log::error(error.what());
  }
  committed_ = clock_.monotonic();
}

}  // namespace izo::daemon
