// SPDX-License-Identifier: GPL-2.0
#include "repl/model_replica.h"

#include <linux/fs.h>
#include <linux/intermezzo_reint.h>
#include <sys/stat.h>

#include <algorithm>
#include <system_error>
#include <utility>

#include "base/error.h"

namespace izo::repl {

using kml::kRootFid;
using kml::Op;

namespace {

constexpr std::uint64_t kRecord = 128;
constexpr std::uint64_t kEpoch = 7;

std::uint64_t offset_of(std::uint64_t recno) {
  return 120 + (recno - 1) * kRecord;
}

}  // namespace

ModelReplica::ModelReplica(std::uint8_t number, bool server, std::shared_ptr<std::int64_t> clock,
                           std::int64_t late)
    : server_(server), clock_(std::move(clock)), late_(late) {
  self_[0] = number;
  // Tables differ, as they do between real replicas.
  for (unsigned other = 0; other < number % 3U; other++) {
    disk_.table.push_back(Uuid{static_cast<std::uint8_t>(100 + other)});
  }
  disk_.table.push_back(self_);
  disk_.inodes[kRoot] = {.generation = 1,
                         .fid = kRootFid,
                         .mode = S_IFDIR | 0755,
                         .nlink = 2,
                         .text = {},
                         .xattrs = {},
                         .entries = {}};
  disk_.next_ino = 10 + number;
  committed_ = disk_;
}

Replica::State ModelReplica::state() {
  return {.replica = self_,
          .table = disk_.table,
          .self = index_of(self_),
          .epoch = kEpoch,
          .first = offset_of(trimmed_ + 1),
          .first_recno = trimmed_ + 1,
          .end = offset_of(disk_.log.size() + 1)};
}

void ModelReplica::commit() {
  before_change();
  committed_ = disk_;
}

Replica::Records ModelReplica::read(std::uint64_t offset) {
  Records out;
  out.next = offset;
  if ((offset - 120) % kRecord != 0) {
    throw NoRecord("model: no record begins there");
  }
  if (offset < offset_of(trimmed_ + 1)) {
    throw Error("model: the records are not kept any more");
  }
  while (out.records.size() < 20) {
    const std::size_t number = (out.next - 120) / kRecord;
    if (number >= committed_.log.size()) {
      break;
    }
    out.records.push_back(committed_.log[number]);
    out.next += kRecord;
  }
  return out;
}

std::uint16_t ModelReplica::index_of(const Uuid& replica) {
  auto found = std::find(disk_.table.begin(), disk_.table.end(), replica);
  if (found == disk_.table.end()) {
    disk_.table.push_back(replica);
    committed_.table.push_back(replica);
    found = std::prev(disk_.table.end());
  }
  return static_cast<std::uint16_t>(found - disk_.table.begin() + 1);
}

std::optional<Received> ModelReplica::received(const Uuid& peer) {
  const auto found = disk_.received.find(peer);
  return found != disk_.received.end() ? std::optional(found->second) : std::nullopt;
}

void ModelReplica::set_received(const Uuid& peer, const Received& position) {
  if (!disk_.received.contains(peer) && disk_.received.size() >= most_peers) {
    throw NoRoom("there are as many already");
  }
  disk_.received[peer] = position;
  commit();
}

std::uint64_t ModelReplica::ino_of(const Fid& fid) const {
  for (const auto& [ino, inode] : disk_.inodes) {
    if (inode.fid == fid) {
      return ino;
    }
  }
  return 0;
}

std::uint64_t ModelReplica::at(const Place& place) const {
  const auto dir = disk_.inodes.find(place.dir);
  if (dir == disk_.inodes.end()) {
    return 0;
  }
  const auto found = dir->second.entries.find(place.name);
  return found != dir->second.entries.end() ? found->second : 0;
}

kml::Place ModelReplica::place_of(const Place& place) {
  inode(place.dir).mtime = now();
  return {
      .dir = inode(place.dir).fid, .mtime = time_of(inode(place.dir).mtime), .name = place.name};
}

void ModelReplica::raise(kml::Place& place) {
  Inode& dir = inode(ino_of(place.dir));
  dir.mtime = std::max(dir.mtime, place.mtime.seconds);
  place.mtime = time_of(dir.mtime);
}

std::optional<kml::Time> ModelReplica::mtime(const Fid& fid) {
  const std::uint64_t ino = ino_of(fid);
  return ino != 0 ? std::optional(time_of(inode(ino).mtime)) : std::nullopt;
}

void ModelReplica::begin_change() {
  before_change();
  if (is_full) {
    throw Full("model: No space left on device");
  }
}

void ModelReplica::set_mtime(const Fid& dir, const kml::Time& mtime) {
  begin_change();
  if (const std::uint64_t ino = ino_of(dir); ino != 0) {
    utimes(ino, mtime.seconds);
  }
}

bool ModelReplica::stands_for(const Place& place, const Handle& what) const {
  const auto found = disk_.inodes.find(what.ino);
  return place.dir != 0 && at(place) == what.ino && found != disk_.inodes.end() &&
         found->second.generation == what.generation;
}

bool ModelReplica::is_within(std::uint64_t dir, std::uint64_t above) const {
  if (dir == above) {
    return true;
  }
  for (const auto& [name, ino] : disk_.inodes.at(above).entries) {
    if (S_ISDIR(disk_.inodes.at(ino).mode) && is_within(dir, ino)) {
      return true;
    }
  }
  return false;
}

Record& ModelReplica::log(Op op, std::uint64_t ino, std::uint32_t aspects) {
  Record record;
  record.op = op;
  record.length = kRecord;
  record.origin = index_of(self_);
  record.recno = disk_.log.size() + 1;
  record.origin_recno = record.recno;
  record.offset = offset_of(record.recno);
  record.epoch = kEpoch;
  record.time = ++records_made_;
  record.aspects = aspects;
  record.object = inode(ino).fid;
  record.nlink = inode(ino).nlink;
  if (!server_) {
    for (const auto& [peer, position] : disk_.received) {
      record.seen = position.recno;
    }
  }
  disk_.log.push_back(std::move(record));
  return disk_.log.back();
}

void ModelReplica::give(std::uint64_t ino, const Place& place) {
  inode(place.dir).entries[place.name] = ino;
  if (!S_ISDIR(inode(ino).mode)) {
    inode(ino).nlink++;
  }
}

void ModelReplica::take(const Place& place, bool by_user) {
  const std::uint64_t ino = at(place);
  inode(place.dir).entries.erase(place.name);
  inode(ino).nlink = S_ISDIR(inode(ino).mode) ? 0 : inode(ino).nlink - 1;
  drop(ino, by_user);
}

void ModelReplica::drop(std::uint64_t ino, bool by_user) {
  if (inode(ino).nlink != 0) {
    return;
  }
  if (by_user && S_ISREG(inode(ino).mode)) {
    discarded.insert(inode(ino).text);
  }
  disk_.inodes.erase(ino);
}

std::vector<Fid> ModelReplica::walk(const Fid& top,
                                    const std::function<void(const Found&)>& visit) {
  std::vector<Fid> lost;
  const auto enter = [&](const auto& self, std::uint64_t dir,
                         const std::function<bool()>& is_there) -> void {
    const Fid fid = dir == 0 ? top : inode(dir).fid;
    amid_walk();
    if (ino_of(fid) == 0 || !is_there() || is_on_its_way(fid)) {
      lost.push_back(fid);
      return;
    }
    const std::map<std::string, std::uint64_t> entries = inode(dir).entries;
    for (const auto& [name, ino] : entries) {
      const auto is_still_there = [this, place = Place{.dir = dir, .name = name}, ino = ino] {
        return disk_.inodes.contains(place.dir) && at(place) == ino;
      };
      if (!is_still_there()) {
        continue;
      }
      const Inode& found = inode(ino);
      visit({.fid = found.fid,
             .handle = {.ino = ino, .generation = found.generation, .result = {}},
             .mode = found.mode,
             .name = {.dir = fid, .name = name}});
      if (S_ISDIR(found.mode)) {
        self(self, ino, is_still_there);
      }
    }
  };
  enter(enter, ino_of(top), [] { return true; });
  return lost;
}

std::optional<Portrait> ModelReplica::portrait(const Fid& fid) {
  const std::uint64_t ino = ino_of(fid);
  if (ino == 0 || is_on_its_way(fid)) {
    return std::nullopt;
  }
  const Inode& one = inode(ino);
  Portrait out;
  out.attr = {.valid = IZO_ATTR_MODE | IZO_ATTR_UID | IZO_ATTR_MTIME,
              .mode = one.mode,
              .uid = one.uid,
              .mtime = time_of(one.mtime)};
  if (!S_ISLNK(one.mode)) {
    out.attr.valid |= IZO_ATTR_FSFLAGS;
    out.attr.fsflags = one.flags;
  }
  if (S_ISREG(one.mode)) {
    out.attr.valid |= IZO_ATTR_SIZE;
    out.attr.size = one.text.size();
    out.changing = one.dirty;
  } else if (S_ISLNK(one.mode)) {
    out.target = "target";
  }
  for (const auto& [name, value] : one.xattrs) {
    out.xattrs.push_back({.name = name, .value = value});
  }
  return out;
}

Replica::Reading ModelReplica::read_body(const Name& name, const Handle& handle) {
  const std::uint64_t dir = ino_of(name.dir);
  if (dir == 0 || at({dir, name.name}) != handle.ino ||
      inode(handle.ino).generation != handle.generation) {
    return {};
  }
  const Inode& file = inode(handle.ino);
  if (is_leased(file.fid)) {
    return {.body = nullptr, .not_now = true};
  }
  // What is not on the medium yet counts as changing.
  if (file.dirty || file.closed > committed_.log.size()) {
    return {.body = nullptr, .changing = true};
  }
  return {.body = std::make_shared<ModelBody>(file.text)};
}

Replica::Kept ModelReplica::keep_copy(const Name& name, const Body& body, const Name& like) {
  begin_change();
  const Place place{.dir = ino_of(name.dir), .name = name.name};
  const std::string& text = dynamic_cast<const ModelBody&>(body).text;
  if (place.dir == 0) {
    return Kept::kNot;
  }
  if (const std::uint64_t there = at(place); there != 0) {
    if (is_leased(inode(there).fid)) {
      return Kept::kNot;
    }
    return is_file(there) && !inode(there).dirty && inode(there).text == text ? Kept::kDone
                                                                              : Kept::kTaken;
  }
  if ((inode(place.dir).flags & FS_IMMUTABLE_FL) != 0) {
    return Kept::kForbidden;
  }
  const std::uint64_t original = at({ino_of(like.dir), like.name});
  make(Op::kCreate, place, original != 0 ? inode(original).mode & 07777 : 0600);
  begin_write(at(place), text);
  end_write(at(place));
  return Kept::kDone;
}

bool ModelReplica::move(const Handle& what, const Name& from, const Name& to) {
  begin_change();
  const Place source{.dir = ino_of(from.dir), .name = from.name};
  const Place target{.dir = ino_of(to.dir), .name = to.name};
  if (!stands_for(source, what) || target.dir == 0 || at(target) != 0) {
    return false;
  }
  return rename(source, target, false);
}

bool ModelReplica::add_name(const Handle& what, const Name& from, const Name& to) {
  begin_change();
  const Place source{.dir = ino_of(from.dir), .name = from.name};
  const Place target{.dir = ino_of(to.dir), .name = to.name};
  return stands_for(source, what) && target.dir != 0 && link(at(source), target);
}

bool ModelReplica::remove(const Handle& what, const Name& name) {
  begin_change();
  const Place place{.dir = ino_of(name.dir), .name = name.name};
  if (!stands_for(place, what) || (inode(what.ino).flags & FS_IMMUTABLE_FL) != 0) {
    return false;
  }
  // A copy was kept: nothing is lost by it.
  const std::set<std::string> before = discarded;
  const bool done = unlink(place);
  discarded = before;
  return done;
}

std::vector<std::string> ModelReplica::list(const Fid& dir) {
  std::vector<std::string> out;
  if (const std::uint64_t ino = ino_of(dir); ino != 0) {
    for (const auto& [name, child] : inode(ino).entries) {
      out.push_back(name);
    }
  }
  return out;
}

ModelReplica::Outcome ModelReplica::find(const Ref& ref,
                                         const std::vector<std::uint64_t>& made) const {
  if (ref.root) {
    return {.code = 0, .ino = kRoot};
  }
  const std::uint64_t ino = ref.handle.result ? made.at(*ref.handle.result) : ref.handle.ino;
  const auto found = disk_.inodes.find(ino);
  if (ino == 0 || found == disk_.inodes.end() ||
      (!ref.handle.result && found->second.generation != ref.handle.generation)) {
    return {.code = IZO_REINT_MISSING};
  }
  // A file that is not in use is found by its name only.
  if (S_ISREG(found->second.mode) && !ref.handle.result) {
    const std::uint64_t dir = ref.parent_is_root ? kRoot : ref.parent.ino;
    if (dir != 0 && at({dir, ref.name}) != ino) {
      return {.code = IZO_REINT_NEED_NAME};
    }
  }
  return {.code = 0, .ino = ino};
}

bool ModelReplica::changed(const Record& record, const Batch& batch, std::size_t own_from) const {
  const auto is_time = [](const Record& one) {
    return one.op == Op::kSetattr && one.aspects == IZO_ASPECT_TIMES;
  };
  for (std::size_t i = 0; i < own_from; i++) {
    const Record& mine = disk_.log[i];
    // Times never conflict.
    if (mine.offset < batch.decided || is_time(mine) || is_time(record)) {
      continue;
    }
    const auto same_name = [&](const std::optional<kml::Place>& one) {
      return one && ((mine.place && one->dir == mine.place->dir && one->name == mine.place->name) ||
                     (mine.to && one->dir == mine.to->dir && one->name == mine.to->name));
    };
    const auto about = [&](const Fid& fid) {
      return mine.object == fid || (mine.replaced && mine.replaced->fid == fid);
    };
    if (about(record.object) || same_name(record.place) || same_name(record.to) ||
        (record.replaced && about(record.replaced->fid))) {
      return true;
    }
  }
  return false;
}

ModelReplica::Outcome ModelReplica::apply_birth(const Operation& operation, std::uint64_t dir) {
  const Record& record = operation.record;
  const Place place{.dir = dir, .name = record.place->name};
  if (at(place) != 0) {
    return {.code = IZO_REINT_EXISTS};
  }
  if (ino_of(record.object) != 0) {
    throw Error("model: an object is made twice");
  }
  const std::uint64_t ino = disk_.next_ino++;
  disk_.inodes[ino] = {.generation = static_cast<std::uint32_t>(ino * 3 + 1),
                       .fid = record.object,
                       .mode = record.attr->mode,
                       .uid = record.attr->uid,
                       .nlink = record.op == Op::kMkdir ? 2U : 0U,
                       .mtime = record.attr->mtime.seconds,
                       .flags = record.attr->fsflags,
                       .text = {},
                       .xattrs = {},
                       .entries = {}};
  for (const kml::Xattr& one : record.xattrs) {
    inode(ino).xattrs[one.name] = one.value;
  }
  give(ino, place);
  return {.code = 0, .ino = ino};
}

ModelReplica::Outcome ModelReplica::apply_rename(const Operation& operation, std::uint64_t ino,
                                                 std::uint64_t dir, std::uint64_t to,
                                                 const std::vector<std::uint64_t>& made) {
  const Record& record = operation.record;
  const Place from{.dir = dir, .name = record.place->name};
  const Place target{.dir = to, .name = record.to->name};
  const bool exchange = (record.flags & IZO_KML_EXCHANGE) != 0;
  if (at(from) != ino) {
    return {.code = at(from) == 0 ? std::uint32_t{IZO_REINT_MISSING} : IZO_REINT_OTHER};
  }
  const std::uint64_t there = at(target);
  if (record.replaced) {
    const Outcome replaced = find(operation.replaced, made);
    if (replaced.code != 0 || replaced.ino != there) {
      return {.code = IZO_REINT_OTHER};
    }
  } else if (there != 0) {
    return {.code = IZO_REINT_EXISTS};
  }
  if (S_ISDIR(inode(ino).mode) && is_within(to, ino)) {
    return {.code = IZO_REINT_ANCESTRY};
  }
  const auto touch = [&] {
    if (dir != to && record.attr && record.attr->has(IZO_ATTR_MTIME) && S_ISDIR(inode(ino).mode)) {
      inode(ino).mtime = record.attr->mtime.seconds;
    }
  };
  if (there != 0 && exchange) {
    if (S_ISDIR(inode(there).mode) && is_within(dir, there)) {
      return {.code = IZO_REINT_ANCESTRY};
    }
    touch();
    if (dir != to && S_ISDIR(inode(there).mode)) {
      inode(there).mtime = record.replaced->mtime.seconds;
    }
    inode(dir).entries[from.name] = there;
    inode(to).entries[target.name] = ino;
    return {};
  }
  if (there != 0) {
    if (S_ISDIR(inode(ino).mode) != S_ISDIR(inode(there).mode)) {
      return {.code = IZO_REINT_TYPE};
    }
    if (!inode(there).entries.empty()) {
      return {.code = IZO_REINT_NOT_EMPTY};
    }
    if (inode(there).dirty) {
      return {.code = IZO_REINT_CHANGED};
    }
    if (is_open(inode(there).fid)) {
      return {.code = IZO_REINT_BUSY};
    }
    take(target, false);
  }
  touch();
  inode(dir).entries.erase(from.name);
  inode(to).entries[target.name] = ino;
  return {};
}

ModelReplica::Outcome ModelReplica::apply_close(const Operation& operation, std::uint64_t ino,
                                                const std::vector<std::uint64_t>& made) {
  Inode file = inode(ino);
  if (file.dirty || is_open(file.fid)) {
    return {.code = IZO_REINT_BUSY};
  }
  std::set<Place> names;
  for (const Ref& ref : operation.names) {
    Ref dir = ref;
    dir.name.clear();
    const Outcome found = find(dir, made);
    if (found.code != 0 || at({found.ino, ref.name}) != ino) {
      return {.code = IZO_REINT_NEED_NAME};
    }
    names.insert({found.ino, ref.name});
  }
  if (names.size() != file.nlink) {
    return {.code = IZO_REINT_NEED_NAME};
  }
  const std::uint64_t installed = disk_.next_ino++;
  file.generation = static_cast<std::uint32_t>(installed * 3 + 1);
  file.text = dynamic_cast<const ModelBody&>(*operation.body).text;
  file.mtime = operation.record.attr->mtime.seconds;
  disk_.inodes.erase(ino);
  disk_.inodes[installed] = file;
  for (const Place& place : names) {
    inode(place.dir).entries[place.name] = installed;
  }
  return {.code = 0, .ino = installed};
}

ModelReplica::Outcome ModelReplica::apply_removal(std::uint64_t ino, const Place& place) {
  if (at(place) != ino) {
    return {.code = IZO_REINT_OTHER};
  }
  if (!inode(ino).entries.empty()) {
    return {.code = IZO_REINT_NOT_EMPTY};
  }
  if (inode(ino).dirty) {
    return {.code = IZO_REINT_CHANGED};
  }
  if (is_open(inode(ino).fid)) {
    return {.code = IZO_REINT_BUSY};
  }
  take(place, false);
  return {};
}

ModelReplica::Outcome ModelReplica::apply_attributes(const Record& record, std::uint64_t ino) {
  Inode& object = inode(ino);
  if (record.op != Op::kSetattr && record.attr && record.attr->has(IZO_ATTR_MODE)) {
    object.mode = record.attr->mode;
  }
  if (record.op == Op::kSetxattr) {
    object.xattrs[record.xattrs.front().name] = record.xattrs.front().value;
    return {};
  }
  if (record.op == Op::kRemovexattr) {
    const std::string& name = record.xattrs.front().name;
    return {.code = object.xattrs.erase(name) != 0 || name == kAcl
                        ? std::uint32_t{IZO_REINT_APPLIED}
                        : std::uint32_t{IZO_REINT_MISSING}};
  }
  if (record.attr->has(IZO_ATTR_MODE)) {
    object.mode = record.attr->mode;
  }
  if (record.attr->has(IZO_ATTR_UID)) {
    object.uid = record.attr->uid;
  }
  if (record.attr->has(IZO_ATTR_MTIME)) {
    object.mtime = record.attr->mtime.seconds;
  }
  if (record.attr->has(IZO_ATTR_FSFLAGS)) {
    object.flags = record.attr->fsflags;
  }
  return {};
}

ModelReplica::Outcome ModelReplica::apply_found(const Operation& operation, std::uint64_t ino,
                                                std::uint64_t dir,
                                                const std::vector<std::uint64_t>& made) {
  const Record& record = operation.record;
  switch (record.op) {
    case Op::kCreate:
    case Op::kMkdir:
    case Op::kMknod:
    case Op::kSymlink:
      return apply_birth(operation, dir);
    case Op::kLink:
      if (at({dir, record.place->name}) != 0) {
        return {.code = IZO_REINT_EXISTS};
      }
      give(ino, {dir, record.place->name});
      return {};
    case Op::kUnlink:
    case Op::kRmdir:
      return apply_removal(ino, {dir, record.place->name});
    case Op::kRename: {
      const Outcome to = find(operation.to, made);
      return to.code != 0 ? to : apply_rename(operation, ino, dir, to.ino, made);
    }
    case Op::kSetattr:
    case Op::kSetxattr:
    case Op::kRemovexattr:
      return apply_attributes(record, ino);
    case Op::kClose:
      return apply_close(operation, ino, made);
  }
  return {};
}

ModelReplica::Outcome ModelReplica::apply_one(const Operation& operation,
                                              const std::vector<std::uint64_t>& made,
                                              const Batch& batch, std::size_t own_from) {
  const Record& record = operation.record;
  const bool birth = record.op == Op::kCreate || record.op == Op::kMkdir ||
                     record.op == Op::kMknod || record.op == Op::kSymlink;
  if (changed(record, batch, own_from)) {
    return {.code = IZO_REINT_CHANGED};
  }
  if (refuses(record)) {
    return {.code = IZO_REINT_REFUSED};
  }
  if (is_cold(record.object) && std::exchange(looked_up_, std::nullopt) != record.object) {
    return {.code = IZO_REINT_NEED_NAME};
  }
  const Outcome object = birth ? Outcome() : find(operation.object, made);
  if (object.code != 0) {
    return object;
  }
  const Outcome dir = record.place ? find(operation.dir, made) : Outcome();
  if (dir.code != 0) {
    return dir;
  }
  const bool sets_flags = record.op == Op::kSetattr && record.attr->has(IZO_ATTR_FSFLAGS);
  for (const std::uint64_t one : {object.ino, dir.ino}) {
    if (one != 0 && !sets_flags && (inode(one).flags & FS_IMMUTABLE_FL) != 0) {
      return {.code = IZO_REINT_REFUSED};
    }
  }
  return apply_found(operation, object.ino, dir.ino, made);
}

std::uint64_t ModelReplica::forward(Record record) {
  // That something was read is no change, and not recorded.
  if (record.op == Op::kSetattr && record.attr->valid == IZO_ATTR_ATIME) {
    return 0;
  }
  record.recno = disk_.log.size() + 1;
  record.offset = offset_of(record.recno);
  record.seen = 0;
  disk_.log.push_back(std::move(record));
  return disk_.log.back().recno;
}

std::vector<Result> ModelReplica::apply(const Batch& batch) {
  std::vector<Result> out;
  std::vector<std::uint64_t> made;
  const std::size_t own_from = disk_.log.size();
  const bool is_sml = batch.kind == Batch::Kind::kSml;
  for (const Operation& operation : batch.operations) {
    if (operation.record.op == Op::kClose && operation.object.handle.result == made.size() - 1) {
      before_body();
    } else {
      before_change();
    }
    Received& position = disk_.received[batch.peer];
    if (position.epoch != batch.epoch ||
        (is_sml ? !position.partial : operation.record.recno != position.recno + 1)) {
      throw Error("model: a record is not the next of its log");
    }
    Result result;
    Outcome outcome;
    if (!operation.skip) {
      outcome = apply_one(operation, made, batch, own_from);
    }
    result.code = operation.skip ? IZO_REINT_SKIPPED : outcome.code;
    if (result.code == IZO_REINT_APPLIED && takes_part(operation.record)) {
      result.code = IZO_REINT_INEXACT;
      result.error = -static_cast<int>(std::errc::operation_not_supported);
    }
    if (outcome.code == 0 && outcome.ino != 0) {
      result.handle = {
          .ino = outcome.ino, .generation = inode(outcome.ino).generation, .result = {}};
    }
    made.push_back(outcome.ino);
    Record done = operation.record;
    if (!operation.skip && result.stored()) {
      for (std::optional<kml::Place>* place : {&done.place, &done.to}) {
        if (*place) {
          raise(**place);
        }
      }
    }
    if (result.stored() && !is_sml) {
      position.recno = done.recno;
      position.offset = done.offset + done.length;
      if (batch.kind == Batch::Kind::kForwarded && !operation.skip) {
        result.recno = forward(std::move(done));
      }
    }
    out.push_back(result);
    if (!result.stored()) {
      break;
    }
  }
  return out;
}

}  // namespace izo::repl
