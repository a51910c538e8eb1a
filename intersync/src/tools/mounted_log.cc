// SPDX-License-Identifier: GPL-2.0
#include "tools/mounted_log.h"

#include <poll.h>
#include <unistd.h>

#include <array>

#include "base/error.h"

namespace izo::tools {

kml::Header MountedLog::header() {
  try {
    return log_.header();
  } catch (const SysError&) {
    throw;
  } catch (const Error& error) {
    throw Damaged(error.what());
  }
}

std::optional<std::size_t> MountedLog::read(std::uint64_t offset, std::span<std::byte> into) {
  const auto got = log_.read(offset, into);
  const auto* size = std::get_if<std::size_t>(&got);
  if (size == nullptr) {
    return std::nullopt;
  }
  const auto end = *size == 0 ? lseek(log_.fd(), 0, SEEK_END) : 0;
  if (*size == 0 && static_cast<std::uint64_t>(end) < offset) {
    throw Error(path_ + ": offset " + std::to_string(offset) + " lies beyond the log's end, " +
                std::to_string(end));
  }
  return *size;
}

MountedLog::Wait MountedLog::wait(std::uint64_t offset, int stop) {
  constexpr int kMilliseconds = 5000;
  // The kernel tells of what lies behind the file's position.
  if (lseek(log_.fd(), static_cast<off_t>(offset), SEEK_SET) < 0) {
    throw SysError(errno, "lseek", path_);
  }
  std::array<pollfd, 3> fds{{{.fd = log_.fd(), .events = POLLIN, .revents = 0},
                             {.fd = stop, .events = POLLIN, .revents = 0},
                             {.fd = STDOUT_FILENO, .events = 0, .revents = 0}}};
  if (poll(fds.data(), fds.size(), kMilliseconds) < 0 && errno != EINTR) {
    throw SysError(errno, "poll", path_);
  }
  if (fds[1].revents != 0 || (fds[2].revents & POLLERR) != 0) {
    return Wait::kStopped;
  }
  return (fds[0].revents & POLLERR) != 0 ? Wait::kFailed : Wait::kMore;
}

}  // namespace izo::tools
