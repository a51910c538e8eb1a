// SPDX-License-Identifier: GPL-2.0
#include "kernel/object.h"

#include <linux/intermezzo_reint.h>
#include <sys/ioctl.h>

#include <cerrno>

#include "base/error.h"

namespace izo::kernel {
namespace {

std::optional<Object> ask(int fd, const std::string& name) {
  static_assert(sizeof(izo_object) == 56);
  izo_object raw{};
  raw.version = IZO_REINT_VERSION;
  raw.name = reinterpret_cast<std::uintptr_t>(name.data());
  raw.name_len = static_cast<__u32>(name.size());
  if (::ioctl(fd, IZO_IOC_OBJECT, &raw) != 0) {
    // EXDEV: a name that leads out of the fileset, as of another subvolume, is none of ours.
    if (errno == ENOENT || errno == ESTALE || (errno == EXDEV && !name.empty())) {
      return std::nullopt;
    }
    throw SysError(errno, "ioctl IZO_IOC_OBJECT", name);
  }
  return Object{
      .fid = {.replica = raw.replica, .ino = raw.fid_ino, .generation = raw.fid_generation},
      .ino = raw.ino,
      .generation = raw.generation,
      .mode = raw.mode,
      .local = (raw.flags & IZO_OBJECT_LOCAL) != 0,
      .listed = (raw.flags & IZO_OBJECT_LISTED) != 0,
      .changing = (raw.flags & IZO_OBJECT_CHANGING) != 0,
      .body_changes = raw.body_changes};
}

}  // namespace

std::optional<Object> look_at(int fd) {
  return ask(fd, {});
}

std::optional<Object> look_at(int directory, const std::string& name) {
  if (name.empty()) {
    return std::nullopt;
  }
  return ask(directory, name);
}

}  // namespace izo::kernel
