// SPDX-License-Identifier: GPL-2.0
// Modification times of directories: the newest of the changes of their names, on whichever
// replica. The kernel sees to that for records that it applies; this for those that are passed.
#pragma once

#include <unordered_map>

#include "repl/replica.h"

namespace izo::repl {

class DirectoryTimes {
 public:
  /// A record, applied or passed: its directories are at least as new as it says. One that sets a
  /// directory's time makes what was before it void.
  void add(const Record& record);

  /// Gives directories that are older the times that are due. To be called when nothing else of
  /// what was added is still to come.
  void settle(Replica& replica);

 private:
  void raise(const kml::Place& place);

  std::unordered_map<Fid, kml::Time> due_;
};

}  // namespace izo::repl
