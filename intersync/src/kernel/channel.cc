// SPDX-License-Identifier: GPL-2.0
#include "kernel/channel.h"

#include <fcntl.h>
#include <linux/intermezzo.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <span>

#include "base/error.h"

namespace izo::kernel {

void agree_on_version(int device, const std::string& path) {
  __u32 version = IZO_DEVICE_VERSION;
  if (::ioctl(device, IZO_IOC_VERSION, &version) != 0) {
    fail_to_agree(errno, version, path);
  }
}

void fail_to_agree(int error, std::uint32_t theirs, const std::string& path) {
  if (error == EPROTONOSUPPORT || error == ENOTTY) {
    throw Error(path + ": the kernel speaks version " +
                (error == ENOTTY ? "none" : std::to_string(theirs)) +
                " of the device protocol, this program version " +
                std::to_string(IZO_DEVICE_VERSION) + "; install the two of one release");
  }
  throw SysError(error, "ioctl IZO_IOC_VERSION", path);
}

Channel::Channel(unsigned number)
    : path_("/dev/intermezzo" + std::to_string(number)),
      fd_(::open(path_.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC)) {
  if (!fd_) {
    throw SysError(errno, "open",
                   errno == EBUSY ? path_ +
                                        ": another intersync has this channel: stop that one, "
                                        "or give this mount another channel="
                                  : path_);
  }
  agree_on_version(fd_.get(), path_);
}

std::optional<Upcall> Channel::read() {
  std::array<std::byte, IZO_UPCALL_MAX> buffer;
  ssize_t size = 0;
  do {
    size = ::read(fd_.get(), buffer.data(), buffer.size());
  } while (size < 0 && errno == EINTR);
  if (size < 0 && errno == EAGAIN) {
    return std::nullopt;
  }
  checked(size, "read", path_);
  DecodedUpcall decoded = decode_upcall(std::span(buffer).first(static_cast<std::size_t>(size)));
  if (const auto* fault = std::get_if<kml::Corrupt>(&decoded)) {
    throw Error(path_ + ": an upcall that breaks the protocol: " + fault->what);
  }
  return std::get<Upcall>(std::move(decoded));
}

bool Channel::answer(std::uint64_t id, int error) {
  const izo_answer answer{
      .size = sizeof(izo_answer),
      .version = IZO_DEVICE_VERSION,
      .id = id,
      .error = static_cast<__u32>(std::clamp(error, 0, IZO_ANSWER_ERROR_MAX)),
  };
  const ssize_t written = ::write(fd_.get(), &answer, sizeof(answer));
  if (written < 0 && errno == ENOENT) {
    return false;
  }
  checked(written, "write", path_);
  return true;
}

}  // namespace izo::kernel
