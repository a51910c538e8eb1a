// SPDX-License-Identifier: GPL-2.0
#include "daemon/state_folder.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>

#include "base/error.h"
#include "base/fs_at.h"
#include "kml/tables.h"

namespace izo::daemon {
namespace {

/// A link to the mount point, made anew if it leads elsewhere.
void point_at(int folder, const std::string& mount_point) {
  std::array<char, 4096> now{};
  const ssize_t size = ::readlinkat(folder, "cache", now.data(), now.size());
  if (size >= 0 && std::string_view(now.data(), static_cast<std::size_t>(size)) == mount_point) {
    return;
  }
  if (::unlinkat(folder, "cache", 0) != 0 && errno != ENOENT) {
    throw SysError(errno, "unlink", "cache");
  }
  checked(::symlinkat(mount_point.c_str(), folder, "cache"), "symlink", "cache");
}

}  // namespace

std::string profile_of(const kernel::Fileset& fileset, const kernel::LogInfo& log) {
  std::array<char, 32> epoch{};
  std::snprintf(epoch.data(), epoch.size(), "%016llx", static_cast<unsigned long long>(log.epoch));
  return "fileset=" + fileset.name + "\nuuid=" + kml::to_string(log.fileset) +
         "\nepoch=" + epoch.data() + "\n";
}

void write_state_folder(const std::string& folder, const kernel::Fileset& fileset,
                        const kernel::LogInfo& log) {
  const std::string path =
      folder.empty() ? "/var/intermezzo-" + std::to_string(fileset.channel) : folder;
  if (::mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) {
    throw SysError(errno, "mkdir", path);
  }
  const UniqueFd directory = open_directory(path);
  remove_leftovers(directory.get());
  write_file(directory.get(), "sysid", as_bytes(kml::to_string(log.replica) + "\n"), 0644);
  write_file(directory.get(), "profile", as_bytes(profile_of(fileset, log)), 0644);
  point_at(directory.get(), fileset.mount_point);
}

}  // namespace izo::daemon
