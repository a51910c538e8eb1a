// SPDX-License-Identifier: GPL-2.0
#include "daemon/portrait.h"

#include <fcntl.h>
#include <linux/intermezzo_kml.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string_view>

#include "base/error.h"

namespace izo::daemon {
namespace {

kml::Attr attr_of(const struct stat& st) {
  kml::Attr out{.valid = IZO_ATTR_MODE | IZO_ATTR_UID | IZO_ATTR_GID | IZO_ATTR_MTIME |
                         IZO_ATTR_CTIME | IZO_ATTR_ATIME,
                .mode = st.st_mode,
                .uid = st.st_uid,
                .gid = st.st_gid,
                .mtime = time_of(st.st_mtim),
                .ctime = time_of(st.st_ctim),
                .atime = time_of(st.st_atim)};
  if (S_ISREG(st.st_mode)) {
    out.valid |= IZO_ATTR_SIZE;
    out.size = static_cast<std::uint64_t>(st.st_size);
  } else if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) {
    out.valid |= IZO_ATTR_RDEV;
    out.rdev = std::uint64_t{major(st.st_rdev)} << 32 | minor(st.st_rdev);
  }
  return out;
}

/// The whole answer of a call that fills a buffer; nullopt if there is none of it, or none that
/// any buffer takes (E2BIG). What is asked about may change between two calls.
template <typename Call>
std::optional<std::string> filled_by(const Call& call, std::string_view what,
                                     const std::string& path) {
  std::string out;
  for (;;) {
    const ssize_t size = call(nullptr, 0);
    // EINVAL, EOVERFLOW: a capability that is none, or nobody's.
    if (size < 0 &&
        (errno == ENODATA || errno == ENOTSUP || errno == EINVAL || errno == EOVERFLOW)) {
      return std::nullopt;
    }
    out.resize(checked(size, what, path));
    if (out.empty()) {
      return out;
    }
    const ssize_t got = call(out.data(), out.size());
    if (got >= 0) {
      out.resize(static_cast<std::size_t>(got));
      return out;
    }
    if (errno == E2BIG) {
      return std::nullopt;
    }
    if (errno != ERANGE && errno != ENODATA) {
      throw SysError(errno, what, path);
    }
  }
}

/// What others depend on, where Linux does not tell all names as they have more than 64 KiB.
constexpr char kKnown[] = "system.posix_acl_access\0system.posix_acl_default\0security.capability";

/// By a descriptor's path, which leads to what is held, and not on, be it a symbolic link.
void add_xattrs(const std::string& path, repl::Portrait& to) {
  const std::optional<std::string> names = filled_by(
      [&](char* buffer, std::size_t size) {
        const ssize_t got = ::listxattr(path.c_str(), buffer, size);
        to.xattrs_cut = got < 0 && errno == E2BIG;
        return got;
      },
      "listxattr", path);
  const std::string asked_for =
      to.xattrs_cut ? std::string(kKnown, sizeof(kKnown)) : names.value_or(std::string());
  for (std::string_view rest = asked_for; !rest.empty();) {
    const std::string name(rest.substr(0, rest.find('\0')));
    rest.remove_prefix(std::min(rest.size(), name.size() + 1));
    std::optional<std::string> value = filled_by(
        [&](char* buffer, std::size_t size) {
          return ::getxattr(path.c_str(), name.c_str(), buffer, size);
        },
        "getxattr", path);
    if (value) {
      to.xattrs.push_back({.name = name, .value = *std::move(value)});
    }
  }
}

std::string target_of(int fd, std::size_t size) {
  std::string out(size + 1, '\0');
  out.resize(static_cast<std::size_t>(
      checked(::readlinkat(fd, "", out.data(), out.size()), "readlink", "a symbolic link")));
  return out;
}

}  // namespace

kml::Time time_of(const timespec& time) {
  return {.seconds = time.tv_sec, .nanoseconds = static_cast<std::uint32_t>(time.tv_nsec)};
}

UniqueFd hold(int directory, const std::string& name) {
  return UniqueFd(
      checked(::openat(directory, name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC), "open", name));
}

repl::Portrait portrait_of(int fd) {
  struct stat st{};
  checked(::fstat(fd, &st), "stat", "an object that is held");
  repl::Portrait out{.attr = attr_of(st), .target = {}, .xattrs = {}};
  add_xattrs("/proc/self/fd/" + std::to_string(fd), out);
  if (S_ISLNK(st.st_mode)) {
    out.target = target_of(fd, static_cast<std::size_t>(st.st_size));
  }
  return out;
}

void add_flags(const std::optional<kernel::Flags>& flags, kml::Attr& attr) {
  if (flags) {
    attr.valid |= IZO_ATTR_FSFLAGS | IZO_ATTR_PROJID;
    attr.fsflags = flags->flags;
    attr.projid = flags->project;
  }
}

}  // namespace izo::daemon
