// SPDX-License-Identifier: GPL-2.0
#include "tools/stop_signals.h"

#include <poll.h>
#include <sys/signalfd.h>

#include <cerrno>

#include "base/error.h"

namespace izo::tools {

StopSignals::StopSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  sigprocmask(SIG_BLOCK, &signals, &before_);
  fd_ = UniqueFd(signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd_) {
    throw SysError(errno, "signalfd");
  }
}

StopSignals::~StopSignals() {
  // One that came has done its work; unblocked and still pending it would end the process.
  signalfd_siginfo came{};
  while (read(fd_.get(), &came, sizeof(came)) == static_cast<ssize_t>(sizeof(came))) {
  }
  sigprocmask(SIG_SETMASK, &before_, nullptr);
}

bool StopSignals::asked() const {
  pollfd wanted{.fd = fd_.get(), .events = POLLIN, .revents = 0};
  return poll(&wanted, 1, 0) > 0;
}

}  // namespace izo::tools
