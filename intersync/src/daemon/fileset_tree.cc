// SPDX-License-Identifier: GPL-2.0
#include "daemon/fileset_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <span>
#include <string_view>

#include "base/error.h"
#include "kernel/object.h"

namespace izo::daemon {
namespace {

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

/// A mount of the file system that nobody else has, so that nothing is mounted in it.
UniqueFd bare_root(const std::string& mount_point) {
  const UniqueFd clone(
      checked(::open_tree(AT_FDCWD, mount_point.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC),
              "open_tree", mount_point));
  return UniqueFd(
      checked(::openat(clone.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), "open", mount_point));
}

/// From an open directory to another one, or to itself; empty if a step leads to none.
UniqueFd follow(int from, std::span<const std::string> steps) {
  static const std::string itself = ".";
  UniqueFd at;
  do {
    const std::string& step = steps.empty() ? itself : steps.front();
    const int how = (steps.size() > 1 ? O_PATH : O_RDONLY) | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    const int next = ::openat(at ? at.get() : from, step.c_str(), how);
    if (next < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP)) {
      return {};
    }
    at.reset(checked(next, "open", step));
    steps = steps.subspan(std::min<std::size_t>(steps.size(), 1));
  } while (!steps.empty());
  return at;
}

/// It may have moved since the index heard of it.
UniqueFd only_if(UniqueFd directory, const kml::Fid& fid) {
  const std::optional<kernel::Object> found =
      directory ? kernel::look_at(directory.get()) : std::nullopt;
  return found && found->fid == fid ? std::move(directory) : UniqueFd();
}

}  // namespace

FilesetTree::FilesetTree(const std::string& mount_point) : root_(bare_root(mount_point)) {}

UniqueFd FilesetTree::open_directory(const repl::Index& index, const kml::Fid& fid) {
  const kml::Fid from = last_ ? last_fid_ : kml::kRootFid;
  std::optional<repl::Index::Way> way = index.way(from, fid);
  UniqueFd found;
  if (way && !way->from_root) {
    found = only_if(follow(last_.get(), way->steps), fid);
    if (!found) {
      way = index.way(kml::kRootFid, fid);
    }
  }
  if (!found && way) {
    found = only_if(follow(root(), way->steps), fid);
  }
  if (found && fid != kml::kRootFid) {
    last_.reset(checked(::fcntl(found.get(), F_DUPFD_CLOEXEC, 0), "fcntl", "a directory"));
    last_fid_ = fid;
  }
  return found;
}

UniqueFd FilesetTree::new_file() const {
  return UniqueFd(checked(::openat(root(), ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600), "open",
                          "a file without a name"));
}

std::vector<std::string> names_in(int directory) {
  UniqueFd own(checked(::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), "open"));
  const std::unique_ptr<DIR, CloseDirectory> stream(::fdopendir(own.get()));
  if (!stream) {
    throw SysError(errno, "fdopendir");
  }
  static_cast<void>(own.release());
  std::vector<std::string> out;
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(stream.get());
    if (entry == nullptr) {
      break;
    }
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") {
      out.emplace_back(name);
    }
  }
  if (errno != 0) {
    throw SysError(errno, "readdir");
  }
  return out;
}

}  // namespace izo::daemon
