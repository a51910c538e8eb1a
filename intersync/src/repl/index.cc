// SPDX-License-Identifier: GPL-2.0
#include "repl/index.h"

#include <sys/stat.h>

#include <algorithm>
#include <utility>

namespace izo::repl {

using kml::kRootFid;
using kml::Op;

namespace {

/// The finalizer of splitmix64, one to one on 64 bits.
std::uint64_t mixed(std::uint64_t value) {
  value += 0x9e3779b97f4a7c15U;
  value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9U;
  value = (value ^ value >> 27) * 0x94d049bb133111ebU;
  return value ^ value >> 31;
}

std::optional<Object> nameless(const Object& object) {
  return Object{.handle = object.handle, .type = object.type, .names = {}};
}

}  // namespace

/// All of an object but its names, which stay; it goes only without any.
void Index::set(const Fid& fid, const std::optional<Object>& object) {
  const auto old = objects_.find(fid);
  if (journaling_) {
    journal_.push_back(
        {.fid = fid, .object = old != objects_.end() ? nameless(old->second) : std::nullopt});
  }
  if (!object) {
    objects_.erase(fid);
  } else if (old != objects_.end()) {
    old->second.handle = object->handle;
    old->second.type = object->type;
  } else {
    objects_.emplace(fid, *object);
  }
}

void Index::own(const Name& name, std::optional<Fid> owner) {
  const auto old = names_.find(name);
  if (journaling_) {
    journal_.push_back(
        {.name = name, .owner = old != names_.end() ? std::optional(old->second) : std::nullopt});
  }
  if (old != names_.end()) {
    digest_ ^= hash_of(name, old->second);
    objects_.at(old->second).names.erase(name);
  }
  if (owner) {
    digest_ ^= hash_of(name, *owner);
    objects_.at(*owner).names.insert(name);
    names_.insert_or_assign(name, *owner);
  } else if (old != names_.end()) {
    names_.erase(old);
  }
}

void Index::know(std::uint16_t index, const Uuid& replica) {
  std::uint64_t hash = 0;
  for (const std::uint8_t byte : replica) {
    hash = mixed(hash ^ byte);
  }
  seeds_.resize(std::max<std::size_t>(seeds_.size(), index + 1U));
  seeds_[index] = hash;
}

std::uint64_t Index::hash_of(const Name& name, const Fid& fid) const {
  std::uint64_t hash = 0;
  for (const Fid& one : {name.dir, fid}) {
    hash = mixed(hash ^ (one.replica < seeds_.size() ? seeds_[one.replica] : 0));
    hash = mixed(hash ^ one.ino);
    hash = mixed(hash ^ one.generation);
  }
  for (const char byte : name.name) {
    hash = mixed(hash ^ static_cast<unsigned char>(byte));
  }
  return hash;
}

void Index::begin() {
  journal_.clear();
  journaling_ = true;
}

void Index::end() {
  journal_.clear();
  journaling_ = false;
}

void Index::roll_back(std::size_t mark) {
  const bool journaling = std::exchange(journaling_, false);
  while (journal_.size() > mark) {
    const Change change = std::move(journal_.back());
    journal_.pop_back();
    if (change.name) {
      own(*change.name, change.owner);
    } else {
      set(change.fid, change.object);
    }
  }
  journaling_ = journaling;
}

void Index::give(const Fid& fid, const Name& name) {
  if (find(fid) == nullptr || has_name(fid, name)) {
    return;
  }
  if (const std::optional<Fid> other = at(name)) {
    take(*other, name);
  }
  own(name, fid);
}

/// The object has that name from now on, whatever had it; one that is not known stays unknown.
void Index::put(const Fid& fid, const std::optional<Object>& object, const Name& name) {
  if (const std::optional<Fid> old = at(name); old && *old != fid) {
    take(*old, name);
  }
  if (object && find(fid) == nullptr) {
    set(fid, object);
  }
  give(fid, name);
}

void Index::exchange(const Fid& one, const Name& from, const Fid& other, const Name& to) {
  const auto copy_of = [this](const Fid& fid) {
    const Object* object = find(fid);
    return object != nullptr ? nameless(*object) : std::nullopt;
  };
  // Each may not be known, or not where the record finds it: a walk saw what came later.
  const std::optional<Object> first = copy_of(one);
  const std::optional<Object> second = copy_of(other);
  put(one, first, to);
  put(other, second, from);
}

void Index::take(const Fid& fid, const Name& name) {
  if (!has_name(fid, name)) {
    return;
  }
  own(name, std::nullopt);
  if (find(fid)->names.empty()) {
    // What has no name left is not in the tree.
    set(fid, std::nullopt);
  }
}

void Index::add(const Found& found) {
  if (find(found.fid) == nullptr) {
    set(found.fid, Object{.handle = found.handle, .type = found.mode & S_IFMT, .names = {}});
  }
  if (S_ISDIR(found.mode)) {
    // A directory has one name: seen twice, it has moved meanwhile.
    while (!find(found.fid)->names.empty()) {
      const Name old = find(found.fid)->names.front();
      if (old == found.name) {
        return;
      }
      own(old, std::nullopt);
    }
  }
  give(found.fid, found.name);
}

const Object* Index::find(const Fid& fid) const {
  const auto found = objects_.find(fid);
  return found != objects_.end() ? &found->second : nullptr;
}

std::optional<Fid> Index::at(const Name& name) const {
  const auto found = names_.find(name);
  return found != names_.end() ? std::optional(found->second) : std::nullopt;
}

bool Index::has_name(const Fid& fid, const Name& name) const {
  const auto found = names_.find(name);
  return found != names_.end() && found->second == fid;
}

bool Index::has_directory(const Fid& fid) const {
  const Object* object = find(fid);
  return fid == kRootFid || (object != nullptr && S_ISDIR(object->type));
}

/// Null if it is the root, or no name of it is known.
const Name* Index::name_of_directory(const Fid& fid) const {
  const Object* object = find(fid);
  return object != nullptr && !object->names.empty() ? &object->names.front() : nullptr;
}

std::vector<Fid> Index::above(const Fid& dir) const {
  std::vector<Fid> out;
  // In a circle, as a walk may find it where directories move meanwhile, each is seen once.
  for (const Name* name = name_of_directory(dir); name != nullptr && out.size() <= objects_.size();
       name = name_of_directory(name->dir)) {
    out.push_back(name->dir);
  }
  return out;
}

std::optional<Index::Way> Index::way(const Fid& from, const Fid& to) const {
  // Both are followed upwards until one comes to where the other has been.
  std::unordered_map<Fid, std::size_t> ups{{from, 0}};
  std::unordered_map<Fid, std::size_t> downs{{to, 0}};
  std::vector<std::string> names;
  const auto made_of = [&](bool from_root, std::size_t up, std::size_t down) {
    Way out{.from_root = from_root, .steps = std::vector<std::string>(up, "..")};
    out.steps.insert(out.steps.end(), names.rend() - static_cast<std::ptrdiff_t>(down),
                     names.rend());
    return out;
  };
  const Name* up = name_of_directory(from);
  for (Fid at = to; names.size() <= objects_.size();) {
    if (at == kRootFid) {
      return made_of(true, 0, names.size());
    }
    if (const auto met = ups.find(at); met != ups.end()) {
      return made_of(false, met->second, names.size());
    }
    const Name* name = name_of_directory(at);
    if (name == nullptr) {
      return std::nullopt;
    }
    names.push_back(name->name);
    at = name->dir;
    downs.emplace(at, names.size());
    if (up != nullptr) {
      const std::size_t steps = ups.size();
      if (const auto met = downs.find(up->dir); met != downs.end() && up->dir != kRootFid) {
        return made_of(false, steps, met->second);
      }
      ups.emplace(up->dir, steps);
      up = name_of_directory(up->dir);
    }
  }
  return std::nullopt;
}

void Index::set_handle(const Fid& fid, const Handle& handle) {
  if (const Object* object = find(fid)) {
    set(fid, Object{.handle = handle, .type = object->type, .names = {}});
  }
}

void Index::apply(const Record& record, const std::optional<Handle>& made) {
  const auto name_of = [](const kml::Place& place) { return Name{place.dir, place.name}; };
  const auto handle_of = [&](const Fid& fid) {
    return made ? *made : Handle{.ino = fid.ino, .generation = fid.generation, .result = {}};
  };
  const auto birth = [&](const Fid& fid, std::uint32_t mode, const Name& name) {
    if (find(fid) == nullptr) {
      set(fid, Object{.handle = handle_of(fid), .type = mode & S_IFMT, .names = {}});
    }
    give(fid, name);
  };
  switch (record.op) {
    case Op::kCreate:
    case Op::kMkdir:
    case Op::kMknod:
    case Op::kSymlink:
      birth(record.object, record.attr->mode, name_of(*record.place));
      break;
    case Op::kLink:
      give(record.object, name_of(*record.place));
      break;
    case Op::kUnlink:
    case Op::kRmdir:
      take(record.object, name_of(*record.place));
      break;
    case Op::kRename: {
      const Name from = name_of(*record.place);
      const Name to = name_of(*record.to);
      if ((record.flags & IZO_KML_EXCHANGE) != 0 && record.replaced) {
        exchange(record.object, from, record.replaced->fid, to);
        break;
      }
      put(record.object, std::nullopt, to);
      take(record.object, from);
      if (record.whiteout) {
        birth(record.whiteout->fid, record.whiteout->attr.mode, from);
      }
      break;
    }
    case Op::kClose:
      if (made) {
        set_handle(record.object, *made);
      }
      break;
    case Op::kSetattr:
    case Op::kSetxattr:
    case Op::kRemovexattr:
      break;
  }
}

Ref Index::ref(const Fid& fid) const {
  if (fid == kRootFid) {
    return {.root = true, .handle = {}, .parent = {}, .name = {}};
  }
  const Object* object = find(fid);
  if (object == nullptr) {
    return {};
  }
  Ref out{.handle = object->handle, .parent = {}, .name = {}};
  if (!object->handle.result && !object->names.empty()) {
    const Name& name = object->names.front();
    if (name.dir == kRootFid) {
      out.parent_is_root = true;
      out.name = name.name;
    } else if (const Object* dir = find(name.dir); dir != nullptr && !dir->handle.result) {
      out.parent = dir->handle;
      out.name = name.name;
    }
  }
  return out;
}

Ref Index::ref(const Name& name) const {
  Ref out = ref(name.dir);
  out.parent = {};
  out.parent_is_root = false;
  out.name = name.name;
  return out;
}

}  // namespace izo::repl
