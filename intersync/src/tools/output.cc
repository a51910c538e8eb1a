// SPDX-License-Identifier: GPL-2.0
#include "tools/output.h"

#include <limits.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/error.h"

namespace izo::tools {

bool Output::line(std::string_view text) {
  constexpr std::size_t kMany = 1 << 16;
  pending_ += text;
  pending_ += '\n';
  return pending_.size() < kMany || flush();
}

bool Output::flush() {
  std::size_t done = 0;
  while (done < pending_.size()) {
    std::array<pollfd, 2> fds{{{.fd = STDOUT_FILENO, .events = POLLOUT, .revents = 0},
                               {.fd = stop_, .events = POLLIN, .revents = 0}}};
    if (poll(fds.data(), fds.size(), -1) < 0 && errno != EINTR) {
      throw SysError(errno, "poll", "standard output");
    }
    if (fds[0].revents == 0) {
      if (fds[1].revents != 0) {
        return false;
      }
      continue;
    }
    // A pipe that is ready takes this much without blocking.
    const std::size_t part = std::min<std::size_t>(pending_.size() - done, PIPE_BUF);
    const ssize_t count = write(STDOUT_FILENO, &pending_[done], part);
    if (count < 0 && errno != EINTR && errno != EAGAIN) {
      throw SysError(errno, "write", "standard output");
    }
    done += count > 0 ? static_cast<std::size_t>(count) : 0;
  }
  pending_.clear();
  return true;
}

}  // namespace izo::tools
