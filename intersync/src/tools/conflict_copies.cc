// SPDX-License-Identifier: GPL-2.0
#include "tools/conflict_copies.h"

#include <fts.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <ctime>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "kml/quoted.h"
#include "repl/conflict_name.h"
#include "tools/record_json.h"

namespace izo::tools {
namespace {

struct CloseTree {
  void operator()(FTS* tree) const { ::fts_close(tree); }
};

char type_of(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFDIR:
      return 'd';
    case S_IFLNK:
      return 'l';
    case S_IFCHR:
      return 'c';
    case S_IFBLK:
      return 'b';
    case S_IFIFO:
      return 'p';
    case S_IFSOCK:
      return 's';
    default:
      return 'f';
  }
}

}  // namespace

std::string to_text(const ConflictCopy& copy) {
  std::array<char, 32> time{};
  std::tm utc{};
  ::gmtime_r(&copy.mtime, &utc);
  std::strftime(time.data(), time.size(), "%FT%TZ", &utc);
  return std::string(1, copy.type) + ' ' + time.data() + ' ' + std::to_string(copy.size) + ' ' +
         kml::quoted(copy.path) + " lost " + kml::quoted(copy.name);
}

nlohmann::ordered_json to_json(const ConflictCopy& copy) {
  return {{"path", bytes_to_json(copy.path)},
          {"name", bytes_to_json(copy.name)},
          {"type", std::string(1, copy.type)},
          {"size", copy.size},
          {"mtime", copy.mtime}};
}

void find_conflict_copies(const std::string& root,
                          const std::function<void(const ConflictCopy&)>& found) {
  std::string path = root;
  while (path.size() > 1 && path.ends_with('/')) {
    path.pop_back();
  }
  const std::size_t before = path == "/" ? 1 : path.size() + 1;  // of what is said as a path
  const std::array<char*, 2> roots{path.data(), nullptr};
  const std::unique_ptr<FTS, CloseTree> tree(
      ::fts_open(roots.data(), FTS_PHYSICAL | FTS_COMFOLLOW | FTS_XDEV | FTS_NOCHDIR, nullptr));
  if (!tree) {
    throw SysError(errno, "fts_open", root);
  }
  for (errno = 0; FTSENT* entry = ::fts_read(tree.get()); errno = 0) {
    if (entry->fts_info == FTS_DNR && entry->fts_errno == ENOENT && entry->fts_level > 0) {
      continue;  // It has gone meanwhile.
    }
    if (entry->fts_info == FTS_DNR || entry->fts_info == FTS_ERR ||
        (entry->fts_info == FTS_NS && entry->fts_level == 0)) {
      throw SysError(entry->fts_errno, "read", entry->fts_path);
    }
    if (entry->fts_level == 0 && entry->fts_info != FTS_D && entry->fts_info != FTS_DP) {
      throw SysError(ENOTDIR, "open", root);
    }
    if (entry->fts_level == 0 || entry->fts_info == FTS_DP || entry->fts_info == FTS_NS) {
      continue;
    }
    if (const std::optional<std::string> name = repl::original_name(entry->fts_name)) {
      const struct stat& status = *entry->fts_statp;
      found({.path = std::string(entry->fts_path).substr(before),
             .name = *name,
             .type = type_of(status.st_mode),
             .size = static_cast<std::uint64_t>(status.st_size),
             .mtime = status.st_mtim.tv_sec});
    }
  }
  if (errno != 0) {
    throw SysError(errno, "read", root);
  }
}

}  // namespace izo::tools
