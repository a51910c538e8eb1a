// SPDX-License-Identifier: GPL-2.0
#include "kml/record.h"

#include <array>
#include <cinttypes>
#include <cstdio>

namespace izo::kml {

std::string to_string(const Fid& fid) {
  if (fid == kRootFid) {
    return "root";
  }
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), "%u:%" PRIu64 ":%08" PRIx32, unsigned{fid.replica},
                fid.ino, fid.generation);
  return text.data();
}

std::string_view name_of(Op op) {
  switch (op) {
    case Op::kCreate:
      return "create";
    case Op::kMkdir:
      return "mkdir";
    case Op::kMknod:
      return "mknod";
    case Op::kSymlink:
      return "symlink";
    case Op::kLink:
      return "link";
    case Op::kUnlink:
      return "unlink";
    case Op::kRmdir:
      return "rmdir";
    case Op::kRename:
      return "rename";
    case Op::kSetattr:
      return "setattr";
    case Op::kSetxattr:
      return "setxattr";
    case Op::kRemovexattr:
      return "removexattr";
    case Op::kClose:
      return "close";
  }
  return "unknown";
}

}  // namespace izo::kml
