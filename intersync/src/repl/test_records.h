// SPDX-License-Identifier: GPL-2.0
// Records for tests of the engine: what it looks at, no more.
#pragma once

#include <sys/stat.h>

#include <optional>
#include <string>
#include <utility>

#include "repl/replica.h"

namespace izo::repl {

inline Name in_root(std::string name) {
  return {.dir = kml::kRootFid, .name = std::move(name)};
}

inline Record about(kml::Op op, const Fid& fid) {
  Record record;
  record.op = op;
  record.origin = 1;
  record.object = fid;
  return record;
}

inline kml::Place place_of(const Name& name) {
  return {.dir = name.dir, .mtime = {}, .name = name.name};
}

inline Record make(kml::Op op, const Fid& fid, const Name& name) {
  Record record = about(op, fid);
  record.place = place_of(name);
  record.nlink = 1;
  const std::uint32_t type = op == kml::Op::kMkdir ? S_IFDIR : S_IFREG;
  record.attr = kml::Attr{.valid = IZO_ATTR_MODE, .mode = type | 0600U};
  return record;
}

inline Record link(const Fid& fid, const Name& name) {
  Record record = about(kml::Op::kLink, fid);
  record.place = place_of(name);
  return record;
}

/// `left`: links that it has after it.
inline Record unlink(const Fid& fid, const Name& name, std::uint32_t left) {
  Record record = about(kml::Op::kUnlink, fid);
  record.place = place_of(name);
  record.nlink = left;
  return record;
}

/// `replaced` has no link left.
inline Record rename(const Fid& fid, const Name& from, const Name& to,
                     const std::optional<Fid>& replaced) {
  Record record = about(kml::Op::kRename, fid);
  record.place = place_of(from);
  record.to = place_of(to);
  record.nlink = 1;
  if (replaced) {
    record.replaced = kml::Other{.fid = *replaced, .nlink = 0, .mtime = {}};
  }
  return record;
}

}  // namespace izo::repl
