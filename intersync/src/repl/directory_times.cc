// SPDX-License-Identifier: GPL-2.0
#include "repl/directory_times.h"

#include <algorithm>
#include <utility>

namespace izo::repl {

void DirectoryTimes::raise(const kml::Place& place) {
  kml::Time& due = due_[place.dir];
  due = std::max(due, place.mtime);
}

void DirectoryTimes::add(const Record& record) {
  if (record.place) {
    raise(*record.place);
  }
  if (record.to) {
    raise(*record.to);
  }
  if (record.op == kml::Op::kSetattr && record.attr && record.attr->has(IZO_ATTR_MTIME)) {
    due_.erase(record.object);
  }
}

void DirectoryTimes::settle(Replica& replica) {
  for (const auto& [dir, time] : std::exchange(due_, {})) {
    replica.raise_mtime(dir, time);
  }
}

}  // namespace izo::repl
