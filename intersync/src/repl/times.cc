// SPDX-License-Identifier: GPL-2.0
#include "repl/times.h"

#include <algorithm>

namespace izo::repl {

using kml::Op;

bool sets_time(const Record& record) {
  return (record.op == Op::kSetattr || record.op == Op::kClose) && record.attr &&
         record.attr->has(IZO_ATTR_MTIME);
}

Record only_time(const Record& record, const Fid& object, const kml::Attr& attr) {
  Record out = record;
  out.op = Op::kSetattr;
  out.flags = 0;
  out.aspects = IZO_ASPECT_TIMES;
  out.object = object;
  out.place.reset();
  out.to.reset();
  out.replaced.reset();
  out.whiteout.reset();
  out.target.reset();
  out.hint.reset();
  out.ranges.clear();
  out.xattrs.clear();
  out.attr = attr;
  return out;
}

std::vector<std::pair<Fid, kml::Time>> directory_times(const Record& record, const Index& index) {
  std::vector<std::pair<Fid, kml::Time>> out;
  for (const std::optional<kml::Place>* place : {&record.place, &record.to}) {
    if (*place) {
      out.emplace_back((*place)->dir, (*place)->mtime);
    }
  }
  // One that gets another parent is touched by it.
  if (record.op == Op::kRename && record.place->dir != record.to->dir) {
    if (record.attr && record.attr->has(IZO_ATTR_MTIME) && index.has_directory(record.object)) {
      out.emplace_back(record.object, record.attr->mtime);
    }
    if ((record.flags & IZO_KML_EXCHANGE) != 0 && record.replaced &&
        index.has_directory(record.replaced->fid)) {
      out.emplace_back(record.replaced->fid, record.replaced->mtime);
    }
  }
  return out;
}

void Times::made(const Record& record, bool contested) {
  const auto touch = [&](const Fid& fid) -> Own& {
    Own& own = own_[fid];
    own.last = record.recno;
    const auto other = others_.find(fid);
    own.contested =
        own.contested || contested || (other != others_.end() && other->second > record.seen);
    touched_[record.recno].push_back(fid);
    return own;
  };
  if (sets_time(record)) {
    touch(record.object).object = record.recno;
  }
  for (const std::optional<kml::Place>* place : {&record.place, &record.to}) {
    if (*place) {
      touch((*place)->dir);
    }
  }
  if (record.op == Op::kRename) {
    touch(record.object);
    if (record.replaced) {
      touch(record.replaced->fid);
    }
  }
}

void Times::comes(const Record& record, const Index& index) {
  std::vector<std::pair<Fid, kml::Time>> given = directory_times(record, index);
  if (sets_time(record)) {
    given.emplace_back(record.object, record.attr->mtime);
  }
  for (const auto& [fid, time] : given) {
    others_[fid] = record.recno;
    if (const auto found = own_.find(fid); found != own_.end()) {
      found->second.contested = true;
    }
  }
}

void Times::came(const Record& record, const Index& index) {
  for (const auto& [dir, time] : directory_times(record, index)) {
    said_[dir] = time;
  }
  if (sets_time(record) && index.has_directory(record.object)) {
    said_[record.object] = record.attr->mtime;
  }
}

bool Times::is_due(const Record& echo) const {
  const auto found = own_.find(echo.object);
  return found != own_.end() && found->second.contested &&
         found->second.object == echo.origin_recno;
}

void Times::forget(std::uint64_t recno) {
  const auto end = touched_.upper_bound(recno);
  for (auto it = touched_.begin(); it != end; ++it) {
    for (const Fid& fid : it->second) {
      if (const auto found = own_.find(fid); found != own_.end() && found->second.last <= recno) {
        own_.erase(found);
      }
    }
  }
  touched_.erase(touched_.begin(), end);
}

std::vector<std::pair<Fid, kml::Time>> Times::take_settled() {
  std::vector<std::pair<Fid, kml::Time>> out;
  for (auto it = said_.begin(); it != said_.end();) {
    if (own_.contains(it->first)) {
      ++it;
    } else {
      out.emplace_back(*it);
      it = said_.erase(it);
    }
  }
  // Those that were made together are near to each other, and are found soon one after the other.
  std::sort(out.begin(), out.end(),
            [](const auto& one, const auto& other) { return one.first < other.first; });
  return out;
}

}  // namespace izo::repl
