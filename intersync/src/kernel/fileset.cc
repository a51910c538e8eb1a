// SPDX-License-Identifier: GPL-2.0
#include "kernel/fileset.h"

#include <fcntl.h>
#include <linux/intermezzo.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <array>
#include <optional>

#include "base/error.h"
#include "base/unique_fd.h"
#include "kernel/mount_table.h"
#include "kernel/upcall.h"

namespace izo::kernel {
namespace {

/// A file of /proc, which has no size.
std::string read_all(const std::string& path) {
  const UniqueFd fd(checked(::open(path.c_str(), O_RDONLY | O_CLOEXEC), "open", path));
  std::array<char, 16384> buffer;
  std::string out;
  for (;;) {
    const ssize_t size = checked(::read(fd.get(), buffer.data(), buffer.size()), "read", path);
    if (size == 0) {
      return out;
    }
    out.append(buffer.data(), static_cast<std::size_t>(size));
  }
}

/// The number of the mount whose top directory `path` is.
std::uint64_t mount_id(const std::string& path) {
  const UniqueFd fd(checked(::open(path.c_str(), O_PATH | O_CLOEXEC), "open", path));
  struct statfs fs{};
  checked(::fstatfs(fd.get(), &fs), "statfs", path);
  if (fs.f_type != INTERMEZZO_SUPER_MAGIC) {
    throw Error(path +
                " is not an InterMezzo file system; mount one there, or name its mount point");
  }
  struct statx st{};
  checked(::statx(fd.get(), "", AT_EMPTY_PATH, STATX_MNT_ID, &st), "statx", path);
  if ((st.stx_mask & STATX_MNT_ID) == 0) {
    throw Error(path + ": the kernel does not say which mount it is on");
  }
  if ((st.stx_attributes & STATX_ATTR_MOUNT_ROOT) == 0) {
    throw Error(path + " lies in a fileset; name the fileset's mount point");
  }
  return st.stx_mnt_id;
}

}  // namespace

std::string Fileset::directory() const {
  return (mount_point == "/" ? std::string() : mount_point) + "/" INTERMEZZO_DIR "/" + name;
}

std::string Fileset::log_path() const {
  return directory() + "/kml";
}

std::string Fileset::why_no_log(bool is_root) const {
  // To others the kernel does not show whether it is there.
  if (!is_root) {
    return mount_point + ": only root (CAP_SYS_ADMIN) may read the log of a fileset";
  }
  const std::string which = mount_point + ": the log of its fileset " + name + " is not open";
  if (read_only) {
    return which + ", as it is mounted read-only: remount it read-write with fileset=" + name +
           " and mtp=; if that is refused, the kernel's log says why";
  }
  return which +
         ", though it is mounted read-write: it had no room or met an error, see the kernel's log; "
         "then unmount it and mount it again";
}

Fileset find_fileset(const std::string& path) {
  const std::optional<Mount> mount = find_mount(read_all("/proc/self/mountinfo"), mount_id(path));
  if (!mount) {
    throw Error(path + " is not in /proc/self/mountinfo; was it unmounted just now?");
  }
  if (mount->root != "/") {
    throw Error(path + " shows only " + mount->root +
                " of a fileset (a bind mount); name the fileset's own mount point");
  }
  const std::optional<unsigned> channel = mount->channel();
  const std::optional<std::string> name = mount->option("fileset");
  if (!channel) {
    throw Error(path + " is on no channel that this program knows");
  }
  if (!name) {
    throw Error(path + " has no fileset yet: remount it read-write with fileset= and mtp=");
  }
  if (!is_fileset_name(*name)) {
    throw Error(path + ": fileset=" + *name + " is no fileset's name");
  }
  return {.mount_point = mount->point,
          .name = *name,
          .channel = *channel,
          .dev_major = mount->dev_major,
          .dev_minor = mount->dev_minor,
          .read_only = mount->is_read_only()};
}

}  // namespace izo::kernel
