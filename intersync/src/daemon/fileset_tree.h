// SPDX-License-Identifier: GPL-2.0
// The tree of a mounted fileset as the daemon goes about in it: by directories whose FID is
// checked, never by paths, and below whatever is mounted over parts of it.
#pragma once

#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "kml/record.h"
#include "repl/index.h"

namespace izo::daemon {

class FilesetTree {
 public:
  /// Of the fileset mounted there, read-write; what is mounted over directories of it later does
  /// not matter. The fileset stays mounted for as long as this lives. Throws SysError.
  explicit FilesetTree(const std::string& mount_point);

  /// The root directory.
  [[nodiscard]] int root() const { return root_.get(); }

  /// A directory, open for reading, that is at the place where the index has it; empty if another
  /// is there or none. It is held until the next one, which may be near, or let_go(): trees may be
  /// deep. Throws SysError.
  [[nodiscard]] UniqueFd open_directory(const repl::Index& index, const kml::Fid& fid);

  /// Holds no directory any more but the root: what is held is not gone for those who watch it.
  void let_go() { last_.reset(); }

  /// A new file without a name and without anything in it, open for reading and writing. Throws
  /// SysError.
  [[nodiscard]] UniqueFd new_file() const;

 private:
  UniqueFd root_;
  UniqueFd last_;  // the directory that was opened last
  kml::Fid last_fid_;
};

/// The names in an open directory, without "." and "..", as they come. Throws SysError.
std::vector<std::string> names_in(int directory);

}  // namespace izo::daemon
