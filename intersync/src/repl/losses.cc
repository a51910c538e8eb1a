// SPDX-License-Identifier: GPL-2.0
#include "repl/losses.h"

namespace izo::repl {

namespace {

/// Directories of a path that are shown.
constexpr unsigned kDeepest = 64;

std::string path_of(const Name& name, const Index& index) {
  std::string out = name.name;
  Fid dir = name.dir;
  for (unsigned depth = 0; dir != kml::kRootFid; depth++) {
    const Object* object = index.find(dir);
    if (object == nullptr || depth == kDeepest) {
      return ".../" + out;
    }
    out.insert(0, object->names.front().name + "/");
    dir = object->names.front().dir;
  }
  return out;
}

std::string path_of(const Record& record, const Index& index) {
  const Object* object = index.find(record.object);
  if (object != nullptr) {
    return path_of(object->names.front(), index);
  }
  for (const auto& place : {record.to, record.place, record.hint}) {
    if (place) {
      return path_of(Name{.dir = place->dir, .name = place->name}, index);
    }
  }
  return record.object == kml::kRootFid ? "." : kml::to_string(record.object);
}

}  // namespace

void Losses::decided(const Record& record, const Tree::Decision& decision) {
  const auto* passed = std::get_if<Passed>(&decision);
  if (passed == nullptr) {
    last_.erase(record.recno);
  } else {
    // What acknowledges one that was passed may itself be passed: why it was is the first reason.
    last_.emplace(record.recno, *passed);
  }
}

std::vector<Loss> Losses::of(std::span<const Record> stored, const std::set<std::uint64_t>& inexact,
                             const Index& index) const {
  std::vector<Loss> out;
  for (const Record& record : stored) {
    const auto found = last_.find(record.recno);
    if (found == last_.end() && inexact.contains(record.recno)) {
      out.push_back({.record = record,
                     .path = path_of(record, index),
                     .why = Passed::kRefused,
                     .in_part = true});
    }
    if (found == last_.end() ||
        (found->second == Passed::kConflict && record.op == kml::Op::kClose)) {
      continue;
    }
    switch (found->second) {
      case Passed::kConflict:
      case Passed::kNotHere:
      case Passed::kRefused:
        out.push_back({.record = record, .path = path_of(record, index), .why = found->second});
        break;
      case Passed::kEcho:
      case Passed::kSuperseded:
      case Passed::kGone:
      case Passed::kAlready:
        break;
    }
  }
  return out;
}

}  // namespace izo::repl
