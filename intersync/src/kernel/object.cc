// SPDX-License-Identifier: GPL-2.0
#include "kernel/object.h"

#include <linux/intermezzo_reint.h>
#include <sys/ioctl.h>

#include <cerrno>

#include "base/error.h"

namespace izo::kernel {
namespace {

std::optional<ObjectAndFlags> ask(int fd, const std::string& name, bool with_flags) {
  static_assert(sizeof(izo_object) == 64);
  izo_object raw{};
  raw.version = IZO_REINT_VERSION;
  raw.flags = with_flags ? IZO_OBJECT_FSFLAGS : 0;
  raw.name = reinterpret_cast<std::uintptr_t>(name.data());
  raw.name_len = static_cast<__u32>(name.size());
  if (::ioctl(fd, IZO_IOC_OBJECT, &raw) != 0) {
    // EXDEV: a name that leads out of the fileset, as of another subvolume, is none of ours.
    if (errno == ENOENT || errno == ESTALE || (errno == EXDEV && !name.empty())) {
      return std::nullopt;
    }
    throw SysError(errno, "ioctl IZO_IOC_OBJECT", name);
  }
  ObjectAndFlags out{.object = {.fid = {.replica = raw.replica,
                                        .ino = raw.fid_ino,
                                        .generation = raw.fid_generation},
                                .ino = raw.ino,
                                .generation = raw.generation,
                                .mode = raw.mode,
                                .local = (raw.flags & IZO_OBJECT_LOCAL) != 0,
                                .listed = (raw.flags & IZO_OBJECT_LISTED) != 0,
                                .changing = (raw.flags & IZO_OBJECT_CHANGING) != 0,
                                .body_changes = raw.body_changes},
                     .flags = {}};
  if ((raw.flags & IZO_OBJECT_FSFLAGS) != 0) {
    out.flags = {.flags = raw.fsflags, .project = raw.projid};
  }
  return out;
}

std::optional<Object> only_object(const std::optional<ObjectAndFlags>& all) {
  return all ? std::optional(all->object) : std::nullopt;
}

}  // namespace

std::optional<Object> look_at(int fd) {
  return only_object(ask(fd, {}, false));
}

std::optional<Object> look_at(int directory, const std::string& name) {
  return name.empty() ? std::nullopt : only_object(ask(directory, name, false));
}

std::optional<ObjectAndFlags> look_at_all(int fd) {
  return ask(fd, {}, true);
}

std::optional<ObjectAndFlags> look_at_all(int directory, const std::string& name) {
  return name.empty() ? std::nullopt : ask(directory, name, true);
}

}  // namespace izo::kernel
