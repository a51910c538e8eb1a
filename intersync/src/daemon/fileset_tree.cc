// SPDX-License-Identifier: GPL-2.0
#include "daemon/fileset_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <cerrno>
#include <memory>
#include <string_view>

#include "base/error.h"
#include "kernel/object.h"

namespace izo::daemon {
namespace {

constexpr std::size_t kDeepest = 4096;

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

}  // namespace

FilesetTree::FilesetTree(const std::string& mount_point) : root_(bare_root(mount_point)) {}

UniqueFd FilesetTree::open_directory(const repl::Index& index, const kml::Fid& fid) const {
  std::vector<std::string_view> names;
  for (kml::Fid at = fid; at != kml::kRootFid;) {
    const repl::Object* object = index.find(at);
    if (object == nullptr || object->names.empty() || names.size() == kDeepest) {
      return {};
    }
    names.emplace_back(object->names.front().name);
    at = object->names.front().dir;
  }
  UniqueFd directory(checked(::openat(root(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), "open"));
  while (!names.empty()) {
    const std::string name(names.back());
    names.pop_back();
    const int how = (names.empty() ? O_RDONLY : O_PATH) | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    const int next = ::openat(directory.get(), name.c_str(), how);
    if (next < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP)) {
      return {};
    }
    directory.reset(checked(next, "open", name));
  }
  // It may have moved since the index heard of it.
  const std::optional<kernel::Object> found = kernel::look_at(directory.get());
  return found && found->fid == fid ? std::move(directory) : UniqueFd();
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
