// SPDX-License-Identifier: GPL-2.0
#include "tools/mounted_log.h"

#include <poll.h>
#include <sys/ioctl.h>

#include <array>

#include "base/error.h"
#include "kml/codec.h"

namespace izo::tools {

std::optional<izo_kml_info> MountedLog::ask(int fd) {
  izo_kml_info info{};
  if (ioctl(fd, IZO_IOC_KML_INFO, &info) != 0) {
    return std::nullopt;
  }
  return info;
}

kml::Header MountedLog::header() {
  std::array<std::byte, sizeof(izo_kml_header)> bytes{};
  const ssize_t count = pread(fd_.get(), bytes.data(), bytes.size(), 0);
  if (count < 0) {
    throw SysError(errno, "read", path_);
  }
  const kml::DecodedHeader decoded =
      kml::decode_header(std::span(bytes).first(static_cast<std::size_t>(count)));
  if (const auto* header = std::get_if<kml::Header>(&decoded)) {
    return *header;
  }
  const auto* corrupt = std::get_if<kml::Corrupt>(&decoded);
  throw Damaged(path_ + ": offset 0: " + (corrupt != nullptr ? corrupt->what : "cut off"));
}

std::optional<std::size_t> MountedLog::read(std::uint64_t offset, std::span<std::byte> into) {
  const ssize_t count = pread(fd_.get(), into.data(), into.size(), static_cast<off_t>(offset));
  if (count < 0 && errno == ENODATA) {
    return std::nullopt;
  }
  if (count < 0) {
    throw SysError(errno, "read", path_);
  }
  const auto end = count == 0 ? lseek(fd_.get(), 0, SEEK_END) : 0;
  if (count == 0 && static_cast<std::uint64_t>(end) < offset) {
    throw Error(path_ + ": offset " + std::to_string(offset) + " lies beyond the log's end, " +
                std::to_string(end));
  }
  return static_cast<std::size_t>(count);
}

MountedLog::Wait MountedLog::wait(std::uint64_t offset, int stop) {
  constexpr int kMilliseconds = 5000;
  // The kernel tells of what lies behind the file's position.
  if (lseek(fd_.get(), static_cast<off_t>(offset), SEEK_SET) < 0) {
    throw SysError(errno, "lseek", path_);
  }
  std::array<pollfd, 3> fds{{{.fd = fd_.get(), .events = POLLIN, .revents = 0},
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
