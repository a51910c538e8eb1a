// SPDX-License-Identifier: GPL-2.0
#include "repl/adapt.h"

#include <sys/stat.h>

#include <algorithm>

#include "kml/codec.h"
#include "repl/conflict_name.h"

namespace izo::repl {

using kml::kRootFid;
using kml::Op;
using kml::Place;

namespace {

Name name_of(const Place& place) {
  return {.dir = place.dir, .name = place.name};
}

bool is_directory(const Object& object) {
  return S_ISDIR(object.type);
}

/// A name for the object that nothing has, or that only it has: in that directory, or in the root
/// if it is not here.
Name free_name(const Name& wanted, const Fid& fid, const Index& index, bool or_its_own) {
  Name out{.dir = index.has_directory(wanted.dir) ? wanted.dir : kRootFid, .name = {}};
  for (std::uint64_t number = 0;; number++) {
    out.name = conflict_name(wanted.name, fid, number);
    const std::optional<Fid> there = index.at(out);
    if (!there || (or_its_own && *there == fid)) {
      return out;
    }
  }
}

/// Adapts one record; its members are what the functions below share.
class Adapter {
 public:
  Adapter(Record record, const Index& index, const Moves& moves, Yields yields)
      : record_(std::move(record)), index_(index), moves_(moves), yields_(yields) {}

  Adapted run() {
    switch (record_.op) {
      case Op::kCreate:
      case Op::kMkdir:
      case Op::kMknod:
      case Op::kSymlink:
        return index_.find(record_.object) != nullptr ? Adapted(Passed::kAlready)
                                                      : make(*record_.place);
      case Op::kLink:
        return link();
      case Op::kUnlink:
      case Op::kRmdir:
        return remove();
      case Op::kRename:
        return rename();
      case Op::kSetattr:
      case Op::kSetxattr:
      case Op::kRemovexattr:
      case Op::kClose:
        break;
    }
    return record_.object == kRootFid || index_.find(record_.object) != nullptr
               ? Adapted(record_)
               : Adapted(Passed::kGone);
  }

 private:
  /// The object gets a name; `place` is in the record.
  Adapted make(Place& place) {
    if (!index_.has_directory(place.dir)) {
      move_to(place, free_name(name_of(place), record_.object, index_, true));
    }
    std::optional<Fid> there = index_.at(name_of(place));
    if (there && *there != record_.object) {
      const Fid loser = yields_ == Yields::kNewcomer ? record_.object : *there;
      const Name away = free_name(name_of(place), loser, index_, yields_ == Yields::kNewcomer);
      if (yields_ == Yields::kOccupant) {
        return MoveAway{.fid = *there, .from = name_of(place), .to = away};
      }
      move_to(place, away);
      there = index_.at(away);
    }
    return there ? Adapted(Passed::kAlready) : Adapted(record_);
  }

  static void move_to(Place& place, const Name& name) {
    place.dir = name.dir;
    place.name = name.name;
  }

  Adapted link() {
    const Object* object = index_.find(record_.object);
    if (object == nullptr) {
      return Passed::kGone;
    }
    if (index_.has_name(record_.object, name_of(*record_.place))) {
      return Passed::kAlready;
    }
    return make(*record_.place);
  }

  Adapted remove() {
    const Object* object = index_.find(record_.object);
    if (object == nullptr) {
      return Passed::kGone;
    }
    const Name place = name_of(*record_.place);
    if (record_.op == Op::kUnlink && record_.nlink != 0) {
      return remove_one_of_several(*object, place);
    }
    // The object is gone there, and goes here with all its names.
    if (!index_.has_name(record_.object, place)) {
      move_to(*record_.place, object->names.front());
    }
    for (const Name& name : object->names) {
      if (name != name_of(*record_.place)) {
        return DropName{.fid = record_.object, .name = name};
      }
    }
    return record_;
  }

  Adapted remove_one_of_several(const Object& object, const Name& place) {
    // It has others there, so it stays here too.
    if (object.names.size() == 1 || moves_.is_claimed(record_.object, place)) {
      return Passed::kAlready;
    }
    if (!index_.has_name(record_.object, place)) {
      const std::optional<Moves::Moved> moved = follow(*record_.place);
      if (!moved || !moved->to) {
        return Passed::kAlready;
      }
      move_to(*record_.place, *moved->to);
    }
    return record_;
  }

  Adapted rename() {
    const Object* object = index_.find(record_.object);
    if (object == nullptr) {
      return gone_with_what_it_replaced();
    }
    const bool exchanges = (record_.flags & IZO_KML_EXCHANGE) != 0;
    if (!exchanges && moves_.is_claimed(record_.object, name_of(*record_.place))) {
      return add_name();
    }
    if (!index_.has_name(record_.object, name_of(*record_.place))) {
      const std::optional<Moves::Moved> moved = follow(*record_.place);
      if (moved && (!moved->to || (yields_ == Yields::kNewcomer && moved->recno != UINT64_MAX))) {
        // Removed here, or renamed on the server too, which stays.
        const Adapted rest = gone_with_what_it_replaced();
        return std::holds_alternative<Passed>(rest) ? Adapted(Passed::kConflict) : rest;
      }
      move_to(*record_.place, moved ? *moved->to : object->names.front());
    }
    if (exchanges) {
      return exchange();
    }
    if (const std::optional<Adapted> first = replaced()) {
      return *first;
    }
    if (index_.has_name(record_.object, name_of(*record_.to))) {
      return Passed::kAlready;
    }
    if (lies_within(record_.to->dir, record_.object)) {
      return out_of_itself();
    }
    if (record_.replaced) {
      return record_;
    }
    return make(*record_.to);
  }

  /// The old name is one that this side has given meanwhile: it stays, and the new one is one more.
  Adapted add_name() {
    if (index_.has_directory(record_.object)) {
      return Passed::kConflict;
    }
    if (const std::optional<Adapted> first = replaced()) {
      return *first;
    }
    if (record_.replaced) {
      return DropName{.fid = record_.replaced->fid, .name = name_of(*record_.to)};
    }
    record_.op = Op::kLink;
    record_.flags = 0;
    record_.place = std::move(record_.to);
    record_.to.reset();
    record_.whiteout.reset();
    record_.xattrs.clear();
    return link();
  }

  /// What the record replaces goes, wherever it is now. Nullopt: nothing to do for it first; the
  /// record names it only if it stands at TO.
  std::optional<Adapted> replaced() {
    if (!record_.replaced) {
      return std::nullopt;
    }
    const Fid fid = record_.replaced->fid;
    const Object* object = index_.find(fid);
    if (object != nullptr && record_.replaced->nlink == 0) {
      for (const Name& name : object->names) {
        if (name != name_of(*record_.to)) {
          return DropName{.fid = fid, .name = name};
        }
      }
    }
    const Name to = name_of(*record_.to);
    if (!index_.has_name(fid, to)) {
      record_.replaced.reset();
    } else if (record_.replaced->nlink != 0 && object->names.size() == 1 &&
               !is_directory(*object)) {
      // It has other names there, so it stays here too.
      return MoveAway{.fid = fid, .from = to, .to = free_name(to, fid, index_, false)};
    }
    return std::nullopt;
  }

  Adapted gone_with_what_it_replaced() {
    if (record_.replaced && (record_.flags & IZO_KML_EXCHANGE) == 0) {
      const Object* object = index_.find(record_.replaced->fid);
      if (object != nullptr && record_.replaced->nlink == 0) {
        return DropName{.fid = record_.replaced->fid, .name = object->names.front()};
      }
    }
    return Passed::kGone;
  }

  /// Both where they should be to trade places, or one after the other.
  Adapted exchange() {
    const Name to = name_of(*record_.to);
    if (record_.replaced && index_.has_name(record_.replaced->fid, to) &&
        index_.has_name(record_.object, name_of(*record_.place)) &&
        !lies_within(record_.to->dir, record_.object) &&
        !lies_within(record_.place->dir, record_.replaced->fid)) {
      return record_;
    }
    const bool other_is_here = record_.replaced && index_.find(record_.replaced->fid) != nullptr;
    if (other_is_here && index_.has_name(record_.replaced->fid, to)) {
      return MoveAway{.fid = record_.replaced->fid,
                      .from = to,
                      .to = free_name(to, record_.replaced->fid, index_, false)};
    }
    if (index_.has_name(record_.object, to)) {
      return Passed::kAlready;
    }
    record_.flags &= ~static_cast<std::uint32_t>(IZO_KML_EXCHANGE);
    record_.replaced.reset();
    if (lies_within(record_.to->dir, record_.object)) {
      return out_of_itself();
    }
    return make(*record_.to);
  }

  [[nodiscard]] bool lies_within(const Fid& dir, const Fid& object) const {
    const std::vector<Fid> above = index_.above(dir);
    return dir == object || std::find(above.begin(), above.end(), object) != above.end();
  }

  Adapted out_of_itself() {
    if (record_.replaced) {
      // It goes, although the name does not become the directory's.
      return DropName{.fid = record_.replaced->fid, .name = name_of(*record_.to)};
    }
    if (yields_ == Yields::kNewcomer) {
      move_to(*record_.to, free_name({kRootFid, record_.to->name}, record_.object, index_, false));
      return record_;
    }
    // The one just below the object on the way down to the target goes to the root.
    Fid below = record_.to->dir;
    for (const Fid& dir : index_.above(record_.to->dir)) {
      if (dir == record_.object) {
        break;
      }
      below = dir;
    }
    if (below == record_.object) {
      return Passed::kConflict;
    }
    const Name from = index_.find(below)->names.front();
    return MoveAway{
        .fid = below, .from = from, .to = free_name({kRootFid, from.name}, below, index_, false)};
  }

  /// Where a name that the object does not have any more went on this side.
  [[nodiscard]] std::optional<Moves::Moved> follow(const Place& place) const {
    return yields_ == Yields::kNewcomer
               ? moves_.follow(record_.object, name_of(place), index_, record_.origin, record_.seen)
               : moves_.follow(record_.object, name_of(place), index_, 0, 0);
  }

  Record record_;
  const Index& index_;
  const Moves& moves_;
  Yields yields_;
};

}  // namespace

Adapted adapt(Record record, const Index& index, const Moves& moves, Yields yields) {
  return Adapter(std::move(record), index, moves, yields).run();
}

std::optional<Name> name_made(const Record& record) {
  switch (record.op) {
    case Op::kCreate:
    case Op::kMkdir:
    case Op::kMknod:
    case Op::kSymlink:
    case Op::kLink:
      return name_of(*record.place);
    case Op::kRename:
      return name_of(*record.to);
    default:
      return std::nullopt;
  }
}

Operation operation_for(Record record, const Index& index) {
  Operation out{.object = {}, .dir = {}, .to = {}, .replaced = {}, .body = {}, .names = {}};
  switch (record.op) {
    case Op::kCreate:
    case Op::kMkdir:
    case Op::kMknod:
    case Op::kSymlink:
      break;
    default:
      out.object = index.ref(record.object);
  }
  if (record.place) {
    out.dir = index.ref(record.place->dir);
  }
  if (record.to) {
    out.to = index.ref(record.to->dir);
  }
  if (record.replaced) {
    out.replaced = index.ref(record.replaced->fid);
  }
  if (record.op == Op::kClose) {
    if (const Object* object = index.find(record.object)) {
      for (const Name& name : object->names) {
        out.names.push_back(index.ref(name));
      }
    }
  }
  out.record = std::move(record);
  return out;
}

}  // namespace izo::repl
