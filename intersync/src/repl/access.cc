// SPDX-License-Identifier: GPL-2.0
#include "repl/access.h"

#include <sys/stat.h>

#include <algorithm>

namespace izo::repl {

using kml::Op;

namespace {

/// What happens to an object that loses a name.
void lose_name(Access& access, const Fid& fid, std::uint32_t links_left, bool directory) {
  access.writes.push_back(key_of(fid, IZO_ASPECT_LINK));
  if (links_left == 0 || directory) {
    access.writes.push_back(key_of(fid, IZO_ASPECT_EXISTENCE));
    // Whoever changed it meanwhile would lose that.
    access.reads.push_back(key_of(fid, IZO_ASPECT_BODY));
  }
}

void rename(Access& access, const Record& record, const Index& index) {
  access.writes.push_back(key_of(*record.place));
  access.writes.push_back(key_of(*record.to));
  access.writes.push_back(key_of(record.object, IZO_ASPECT_LINK));
  for (const Fid& dir : {record.place->dir, record.to->dir}) {
    access.reads.push_back(key_of(dir, IZO_ASPECT_EXISTENCE));
  }
  access.reads.push_back(key_of(record.object, IZO_ASPECT_EXISTENCE));
  const Object* object = index.find(record.object);
  if (object != nullptr && S_ISDIR(object->type)) {
    for (const Fid& dir : index.above(record.to->dir)) {
      access.reads.push_back(key_of(dir, IZO_ASPECT_LINK));
    }
    access.reads.push_back(key_of(record.to->dir, IZO_ASPECT_LINK));
  }
  if (record.replaced && (record.flags & IZO_KML_EXCHANGE) != 0) {
    access.writes.push_back(key_of(record.replaced->fid, IZO_ASPECT_LINK));
  } else if (record.replaced) {
    lose_name(access, record.replaced->fid, record.replaced->nlink, false);
  }
  if (record.whiteout) {
    access.writes.push_back(key_of(record.whiteout->fid, IZO_ASPECT_EXISTENCE));
  }
}

}  // namespace

Access access_of(const Record& record, const Index& index) {
  Access access;
  switch (record.op) {
    case Op::kCreate:
    case Op::kMkdir:
    case Op::kMknod:
    case Op::kSymlink:
      access.writes = {key_of(*record.place), key_of(record.object, IZO_ASPECT_EXISTENCE)};
      access.reads = {key_of(record.place->dir, IZO_ASPECT_EXISTENCE)};
      break;
    case Op::kLink:
      access.writes = {key_of(*record.place), key_of(record.object, IZO_ASPECT_LINK)};
      access.reads = {key_of(record.place->dir, IZO_ASPECT_EXISTENCE),
                      key_of(record.object, IZO_ASPECT_EXISTENCE)};
      break;
    case Op::kUnlink:
    case Op::kRmdir:
      access.writes = {key_of(*record.place)};
      lose_name(access, record.object, record.nlink, record.op == Op::kRmdir);
      break;
    case Op::kRename:
      rename(access, record, index);
      break;
    case Op::kSetattr:
      access.reads = {key_of(record.object, IZO_ASPECT_EXISTENCE)};
      if ((record.aspects & IZO_ASPECT_ATTR) != 0) {
        access.writes = {key_of(record.object, IZO_ASPECT_ATTR)};
      }
      break;
    case Op::kSetxattr:
    case Op::kRemovexattr:
      access.reads = {key_of(record.object, IZO_ASPECT_EXISTENCE)};
      access.writes = {
          {.fid = record.object,
           .aspect = IZO_ASPECT_XATTR,
           .name = record.xattrs.empty() ? std::string() : record.xattrs.front().name}};
      if ((record.aspects & IZO_ASPECT_ATTR) != 0) {
        access.writes.push_back(key_of(record.object, IZO_ASPECT_ATTR));
      }
      break;
    case Op::kClose:
      access.reads = {key_of(record.object, IZO_ASPECT_EXISTENCE)};
      access.writes = {key_of(record.object, IZO_ASPECT_BODY)};
      break;
  }
  return access;
}

void History::Last::add(std::uint64_t new_recno, std::uint16_t new_origin) {
  // A record that was applied for a peer is told of before those of our own that came just before
  // it.
  if (new_recno < recno) {
    if (origin != new_origin) {
      other_recno = std::max(other_recno, new_recno);
    }
    return;
  }
  if (recno != 0 && origin != new_origin) {
    other_recno = recno;
  }
  recno = new_recno;
  origin = new_origin;
}

void History::add(const Record& record, const Access& access) {
  for (const Key& key : access.writes) {
    last_[key].written.add(record.recno, record.origin);
  }
  for (const Key& key : access.reads) {
    last_[key].read.add(record.recno, record.origin);
  }
}

std::uint64_t History::written_at(const Key& key, std::uint16_t origin) const {
  const auto found = last_.find(key);
  return found != last_.end() ? found->second.written.by_others(origin) : 0;
}

bool History::written_since(const Key& key, std::uint16_t origin, std::uint64_t seen) const {
  return written_at(key, origin) > seen;
}

bool History::conflicts(const Access& access, std::uint16_t origin, std::uint64_t seen) const {
  const auto read_since = [&](const Key& key) {
    const auto found = last_.find(key);
    return found != last_.end() && found->second.read.by_others(origin) > seen;
  };
  return std::any_of(
             access.writes.begin(), access.writes.end(),
             [&](const Key& key) { return written_since(key, origin, seen) || read_since(key); }) ||
         std::any_of(access.reads.begin(), access.reads.end(),
                     [&](const Key& key) { return written_since(key, origin, seen); });
}

void History::forget(std::uint64_t recno) {
  std::erase_if(last_, [&](const auto& entry) {
    return entry.second.written.recno <= recno && entry.second.read.recno <= recno;
  });
}

}  // namespace izo::repl
