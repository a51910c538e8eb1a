// SPDX-License-Identifier: GPL-2.0
// What users of a model replica do, and what they and the tests see of it.
#include <sys/stat.h>

#include <sstream>

#include "repl/model_replica.h"

namespace izo::repl {

using kml::Op;

bool ModelReplica::make(Op op, const Place& place, std::uint32_t permissions) {
  if (at(place) != 0) {
    return false;
  }
  const std::uint64_t ino = disk_.next_ino++;
  const std::uint32_t type = op == Op::kMkdir ? S_IFDIR : op == Op::kSymlink ? S_IFLNK : S_IFREG;
  disk_.inodes[ino] = {.generation = static_cast<std::uint32_t>(ino * 3 + 1),
                       .fid = {},
                       .mode = type | permissions,
                       .nlink = op == Op::kMkdir ? 2U : 0U,
                       .mtime = now(),
                       .text = {},
                       .xattrs = {},
                       .entries = {}};
  inode(ino).fid = {.replica = index_of(self_), .ino = ino, .generation = inode(ino).generation};
  give(ino, place);
  Record& record = log(op, ino, IZO_ASPECT_EXISTENCE | IZO_ASPECT_ATTR | IZO_ASPECT_LINK);
  record.place = place_of(place);
  record.attr = kml::Attr{.valid = IZO_ATTR_MODE | IZO_ATTR_UID | IZO_ATTR_MTIME,
                          .mode = type | permissions,
                          .mtime = time_of(inode(ino).mtime)};
  if (op == Op::kSymlink) {
    record.target = "target";
  }
  return true;
}

bool ModelReplica::link(std::uint64_t ino, const Place& place) {
  if (at(place) != 0 || S_ISDIR(inode(ino).mode)) {
    return false;
  }
  give(ino, place);
  log(Op::kLink, ino, IZO_ASPECT_LINK).place = place_of(place);
  return true;
}

bool ModelReplica::unlink(const Place& place) {
  const std::uint64_t ino = at(place);
  if (ino == 0 || !inode(ino).entries.empty()) {
    return false;
  }
  const bool directory = S_ISDIR(inode(ino).mode);
  Record& record = log(directory ? Op::kRmdir : Op::kUnlink, ino, IZO_ASPECT_LINK);
  record.place = place_of(place);
  record.nlink = directory ? 0 : record.nlink - 1;
  take(place, true);
  return true;
}

bool ModelReplica::rename(const Place& from, const Place& to, bool exchange) {
  const std::uint64_t ino = at(from);
  const std::uint64_t target = at(to);
  if (ino == 0 || ino == target || (exchange && target == 0)) {
    return false;
  }
  const bool directory = S_ISDIR(inode(ino).mode);
  if (directory && is_within(to.dir, ino)) {
    return false;
  }
  if (target != 0) {
    if (exchange && S_ISDIR(inode(target).mode) && is_within(from.dir, target)) {
      return false;
    }
    if (!exchange && (directory != S_ISDIR(inode(target).mode) || !inode(target).entries.empty())) {
      return false;
    }
  }
  Record& record = log(Op::kRename, ino, IZO_ASPECT_LINK);
  record.place = place_of(from);
  record.to = place_of(to);
  // A directory that gets another parent is touched by it.
  const bool moves = from.dir != to.dir;
  if (moves && directory) {
    inode(ino).mtime = now();
    record.attr = kml::Attr{.valid = IZO_ATTR_MTIME, .mtime = time_of(inode(ino).mtime)};
  }
  if (exchange) {
    record.flags = IZO_KML_EXCHANGE;
    if (moves && S_ISDIR(inode(target).mode)) {
      inode(target).mtime = now();
    }
    record.replaced = kml::Other{.fid = inode(target).fid,
                                 .nlink = inode(target).nlink,
                                 .mtime = time_of(moves ? inode(target).mtime : 0)};
    inode(from.dir).entries[from.name] = target;
    inode(to.dir).entries[to.name] = ino;
    return true;
  }
  if (target != 0) {
    record.replaced = kml::Other{.fid = inode(target).fid,
                                 .nlink = S_ISDIR(inode(target).mode) ? 0 : inode(target).nlink - 1,
                                 .mtime = {}};
    take(to, true);
  }
  inode(from.dir).entries.erase(from.name);
  inode(to.dir).entries[to.name] = ino;
  return true;
}

bool ModelReplica::chmod(std::uint64_t ino, std::uint32_t permissions) {
  inode(ino).mode = (inode(ino).mode & S_IFMT) | permissions;
  log(Op::kSetattr, ino, IZO_ASPECT_ATTR).attr =
      kml::Attr{.valid = IZO_ATTR_MODE, .mode = inode(ino).mode};
  return true;
}

bool ModelReplica::chown(std::uint64_t ino, std::uint32_t uid) {
  inode(ino).uid = uid;
  log(Op::kSetattr, ino, IZO_ASPECT_ATTR).attr = kml::Attr{.valid = IZO_ATTR_UID, .uid = uid};
  return true;
}

bool ModelReplica::utimes(std::uint64_t ino, std::int64_t mtime) {
  inode(ino).mtime = mtime;
  log(Op::kSetattr, ino, IZO_ASPECT_TIMES).attr =
      kml::Attr{.valid = IZO_ATTR_MTIME, .mtime = time_of(mtime)};
  return true;
}

namespace {

/// An ACL belongs to the owner and mode.
std::uint32_t aspect_of(const std::string& xattr) {
  return xattr == kAcl ? IZO_ASPECT_ATTR : IZO_ASPECT_XATTR;
}

}  // namespace

bool ModelReplica::setxattr(std::uint64_t ino, const std::string& name, const std::string& value) {
  inode(ino).xattrs[name] = value;
  log(Op::kSetxattr, ino, aspect_of(name)).xattrs = {{.name = name, .value = value}};
  return true;
}

void ModelReplica::chattr(std::uint64_t ino, std::uint32_t flags) {
  if (S_ISLNK(inode(ino).mode)) {
    return;
  }
  inode(ino).flags = flags;
  log(Op::kSetattr, ino, IZO_ASPECT_ATTR).attr =
      kml::Attr{.valid = IZO_ATTR_FSFLAGS, .fsflags = flags};
}

bool ModelReplica::removexattr(std::uint64_t ino, const std::string& name) {
  // That there is no ACL is recorded even if there was none.
  if (inode(ino).xattrs.erase(name) == 0 && name != kAcl) {
    return false;
  }
  log(Op::kRemovexattr, ino, aspect_of(name)).xattrs = {{.name = name, .value = {}}};
  return true;
}

bool ModelReplica::begin_write(std::uint64_t ino, const std::string& text) {
  Inode& file = inode(ino);
  if (!S_ISREG(file.mode)) {
    return false;
  }
  if (!file.dirty) {
    file.dirty = true;
    file.seen = 0;
    for (const auto& [peer, position] : disk_.received) {
      file.seen = server_ ? 0 : position.recno;
    }
  }
  discarded.insert(file.text);
  file.text = text;
  file.mtime = now();
  return true;
}

void ModelReplica::end_write(std::uint64_t ino) {
  const auto found = disk_.inodes.find(ino);
  if (found == disk_.inodes.end() || !found->second.dirty) {
    return;
  }
  Record& record = log(Op::kClose, ino, IZO_ASPECT_BODY);
  record.flags = IZO_KML_WHOLE;
  record.attr = kml::Attr{.valid = IZO_ATTR_MTIME, .mtime = time_of(found->second.mtime)};
  record.seen = found->second.seen;
  found->second.dirty = false;
  found->second.closed = record.recno;
}

void ModelReplica::cut_power() {
  disk_ = committed_;
  for (const std::uint64_t ino : dirty()) {
    end_write(ino);
  }
  commit();
}

void ModelReplica::lose(const std::string& name) {
  for (const Place& place : places()) {
    if (place.name == name) {
      take(place, false);
    }
  }
  committed_ = disk_;
}

void ModelReplica::forget_log() {
  for (const std::uint64_t ino : dirty()) {
    end_write(ino);
  }
  for (auto& [ino, inode] : disk_.inodes) {
    inode.closed = 0;
  }
  disk_.log.clear();
  committed_ = disk_;
}

std::vector<std::uint64_t> ModelReplica::inodes() const {
  std::vector<std::uint64_t> out;
  for (const auto& [ino, inode] : disk_.inodes) {
    if (ino != kRoot) {
      out.push_back(ino);
    }
  }
  return out;
}

std::vector<ModelReplica::Place> ModelReplica::places() const {
  std::vector<Place> out;
  for (const auto& [dir, inode] : disk_.inodes) {
    for (const auto& [name, ino] : inode.entries) {
      out.push_back({.dir = dir, .name = name});
    }
  }
  return out;
}

std::vector<std::uint64_t> ModelReplica::directories() const {
  std::vector<std::uint64_t> out;
  for (const auto& [ino, inode] : disk_.inodes) {
    if (S_ISDIR(inode.mode)) {
      out.push_back(ino);
    }
  }
  return out;
}

std::vector<std::uint64_t> ModelReplica::dirty() const {
  std::vector<std::uint64_t> out;
  for (const auto& [ino, inode] : disk_.inodes) {
    if (inode.dirty) {
      out.push_back(ino);
    }
  }
  return out;
}

std::string ModelReplica::text_of(std::uint64_t ino) const {
  return disk_.inodes.at(ino).text;
}

bool ModelReplica::is_file(std::uint64_t ino) const {
  return S_ISREG(disk_.inodes.at(ino).mode);
}

std::set<std::string> ModelReplica::texts() const {
  std::set<std::string> out;
  for (const auto& [ino, inode] : disk_.inodes) {
    if (S_ISREG(inode.mode)) {
      out.insert(inode.text);
    }
  }
  return out;
}

std::string ModelReplica::manifest(bool with_directory_times) const {
  std::ostringstream out;
  const auto visit = [&](const auto& self, std::uint64_t dir, const std::string& path) -> void {
    for (const auto& [name, ino] : disk_.inodes.at(dir).entries) {
      const Inode& inode = disk_.inodes.at(ino);
      out << path << "/" << name << " fid " << +disk_.table[inode.fid.replica - 1U][0] << ":"
          << inode.fid.ino << " mode " << inode.mode << " uid " << inode.uid << " mtime "
          << (with_directory_times || !S_ISDIR(inode.mode) ? inode.mtime : 0) << " text "
          << inode.text;
      if (inode.flags != 0) {
        out << " flags " << inode.flags;
      }
      for (const auto& [key, value] : inode.xattrs) {
        out << " " << key << "=" << value;
      }
      if (!S_ISDIR(inode.mode)) {
        out << " links " << inode.nlink;
      }
      out << "\n";
      if (S_ISDIR(inode.mode)) {
        self(self, ino, (std::ostringstream() << path << "/" << name).str());
      }
    }
  };
  const Inode& root = disk_.inodes.at(kRoot);
  out << "root mtime " << (with_directory_times ? root.mtime : 0) << " mode " << root.mode
      << " uid " << root.uid;
  for (const auto& [key, value] : root.xattrs) {
    out << " " << key << "=" << value;
  }
  out << "\n";
  visit(visit, kRoot, "");
  return out.str();
}

}  // namespace izo::repl
