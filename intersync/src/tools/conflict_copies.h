// SPDX-License-Identifier: GPL-2.0
// What conflicts have left in a tree: objects with a name of the form NAME.conflict-XXXXXXXX, which
// intersync gives to the loser.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace izo::tools {

struct ConflictCopy {
  std::string path;  ///< From the tree's root.
  std::string name;  ///< The name that it did not get, in the same directory.
  char type = 'f';   ///< As find(1) -type has it.
  std::uint64_t size = 0;
  std::int64_t mtime = 0;  ///< Seconds since 1970.

  bool operator==(const ConflictCopy&) const = default;
};

/// A line, without its end.
std::string to_text(const ConflictCopy& copy);
/// One JSON object.
nlohmann::ordered_json to_json(const ConflictCopy& copy);

/// Looks through the tree at `root`, a directory or a link to one, not below what is mounted in it,
/// and calls for each. Directories that go meanwhile are passed over. Throws SysError.
void find_conflict_copies(const std::string& root,
                          const std::function<void(const ConflictCopy&)>& found);

}  // namespace izo::tools
