// SPDX-License-Identifier: GPL-2.0
#include "kml/sample_records.h"

#include <sys/stat.h>

namespace izo::kml {
namespace {

constexpr std::uint32_t kBirth =
    IZO_ATTR_MODE | IZO_ATTR_UID | IZO_ATTR_GID | IZO_ATTR_MTIME | IZO_ATTR_CTIME | IZO_ATTR_ATIME;

std::uint32_t type_of_birth(Op op) {
  switch (op) {
    case Op::kCreate:
      return S_IFREG;
    case Op::kMkdir:
      return S_IFDIR;
    case Op::kSymlink:
      return S_IFLNK;
    default:
      return S_IFCHR;
  }
}

}  // namespace

/// Bytes that a name can have, at least one, not "." or "..".
std::string SampleRecords::text(std::size_t most) {
  std::string out(1 + below(most), '\0');
  for (char& c : out) {
    c = static_cast<char>(1 + below(255));
    if (c == '/' || c == '.') {
      c = 'x';
    }
  }
  return out;
}

Fid SampleRecords::fid() {
  return below(8) == 0 ? kRootFid : fid_of_made();
}

Fid SampleRecords::fid_of_made() {
  return {.replica = static_cast<std::uint16_t>(1 + below(0xffff)),
          .ino = 1 + below(1 + below(~0ULL - 1)),
          .generation = static_cast<std::uint32_t>(random_())};
}

Time SampleRecords::time() {
  return {.seconds = static_cast<std::int64_t>(random_()),
          .nanoseconds = static_cast<std::uint32_t>(below(1'000'000'000))};
}

Place SampleRecords::place() {
  return {.dir = fid(), .mtime = time(), .name = text(255)};
}

Attr SampleRecords::attr(std::uint32_t valid, std::uint32_t type) {
  Attr out{.valid = valid};
  const auto number = [&](std::uint32_t field) {
    return out.has(field) ? static_cast<std::uint32_t>(random_()) : 0U;
  };
  const auto moment = [&](std::uint32_t field) { return out.has(field) ? time() : Time{}; };
  out.mode = out.has(IZO_ATTR_MODE) ? type | static_cast<std::uint32_t>(below(010000)) : 0;
  out.uid = number(IZO_ATTR_UID);
  out.gid = number(IZO_ATTR_GID);
  out.fsflags = number(IZO_ATTR_FSFLAGS);
  out.projid = number(IZO_ATTR_PROJID);
  out.rdev = out.has(IZO_ATTR_RDEV) ? random_() : 0;
  out.size = out.has(IZO_ATTR_SIZE) ? below(1ULL << 63) : 0;
  out.mtime = moment(IZO_ATTR_MTIME);
  out.ctime = moment(IZO_ATTR_CTIME);
  out.atime = moment(IZO_ATTR_ATIME);
  return out;
}

std::vector<Xattr> SampleRecords::xattrs(std::uint64_t most) {
  std::vector<Xattr> out(below(most + 1));
  for (Xattr& xattr : out) {
    xattr = {.name = "user." + text(250), .value = maybe() ? text(2000) : ""};
  }
  return out;
}

void SampleRecords::born(Record& record, std::uint32_t type) {
  std::uint32_t valid = kBirth;
  if (record.op == Op::kCreate || record.op == Op::kSymlink) {
    valid |= IZO_ATTR_SIZE;
  }
  if (record.op == Op::kMknod) {
    valid |= IZO_ATTR_RDEV;
  }
  if (maybe()) {
    valid |= IZO_ATTR_FSFLAGS | IZO_ATTR_PROJID;
  }
  record.place = place();
  record.attr = attr(valid, type);
  record.xattrs = xattrs(3);
  if (record.op == Op::kSymlink) {
    record.target = text(4095);
  }
  if (record.op != Op::kMkdir && maybe()) {
    record.flags |= IZO_KML_COMPLETE;
  }
  if (below(4) == 0) {
    record.flags |= IZO_KML_XATTRS_CUT;
  }
}

void SampleRecords::renamed(Record& record) {
  record.place = place();
  record.to = place();
  record.attr = attr(IZO_ATTR_CTIME | IZO_ATTR_MTIME, 0);
  if (maybe()) {
    record.replaced =
        Other{.fid = fid(), .nlink = static_cast<std::uint32_t>(below(9)), .mtime = time()};
    if (maybe()) {
      record.flags |= IZO_KML_EXCHANGE;
    }
  }
  if (below(4) == 0 && (record.flags & IZO_KML_EXCHANGE) == 0) {
    record.flags |= IZO_KML_WHITEOUT;
    record.whiteout = Whiteout{.fid = fid_of_made(), .attr = attr(kBirth | IZO_ATTR_RDEV, S_IFCHR)};
    record.xattrs = xattrs(2);
  }
}

void SampleRecords::closed(Record& record) {
  record.attr = attr(IZO_ATTR_SIZE | IZO_ATTR_MTIME | IZO_ATTR_CTIME, 0);
  if (maybe()) {
    record.flags |= IZO_KML_WHOLE | (maybe() ? IZO_KML_RECOVERED : 0U);
    return;
  }
  std::uint64_t at = below(1000);
  record.ranges.resize(1 + below(IZO_KML_RANGES_MAX));
  for (Range& range : record.ranges) {
    range.start = at;
    range.end = range.start + 1 + below(1ULL << 40);
    at = range.end + 1 + below(1000);
  }
}

Record SampleRecords::make(Op op) {
  Record record;
  record.op = op;
  record.origin = static_cast<std::uint16_t>(1 + below(0xffff));
  record.offset = random_();
  record.epoch = random_();
  record.recno = 1 + below(~0ULL - 1);
  record.origin_recno = 1 + below(~0ULL - 1);
  record.seen = random_();
  record.time = random_();
  record.uid = static_cast<std::uint32_t>(random_());
  record.gid = static_cast<std::uint32_t>(random_());
  record.aspects = static_cast<std::uint32_t>(below(0x40));
  record.nlink = static_cast<std::uint32_t>(random_());
  record.object =
      op == Op::kSetattr || op == Op::kSetxattr || op == Op::kRemovexattr ? fid() : fid_of_made();
  switch (op) {
    case Op::kCreate:
    case Op::kMkdir:
    case Op::kMknod:
    case Op::kSymlink:
      born(record, type_of_birth(op));
      break;
    case Op::kLink:
      record.place = place();
      record.attr = attr(IZO_ATTR_CTIME, 0);
      break;
    case Op::kUnlink:
    case Op::kRmdir:
      record.place = place();
      break;
    case Op::kRename:
      renamed(record);
      break;
    case Op::kSetattr:
      record.attr = attr(1 + static_cast<std::uint32_t>(below(IZO_ATTR_ALL)), S_IFREG);
      if (record.attr->has(IZO_ATTR_SIZE)) {
        record.attr->valid ^= IZO_ATTR_SIZE;
        record.attr->valid |= IZO_ATTR_CTIME;
        record.attr->size = 0;
      }
      break;
    case Op::kSetxattr:
      record.xattrs = {{.name = "user." + text(250), .value = text(4000)}};
      record.attr = attr(IZO_ATTR_CTIME, 0);
      break;
    case Op::kRemovexattr:
      record.xattrs = {{.name = "user." + text(250), .value = ""}};
      break;
    case Op::kClose:
      closed(record);
      break;
  }
  if (!record.place && maybe()) {
    record.hint = Place{.dir = fid(), .mtime = {}, .name = text(255)};
  }
  record.groups.resize(maybe() ? 0 : below(IZO_KML_GROUPS_MAX + 1));
  for (std::uint32_t& group : record.groups) {
    group = static_cast<std::uint32_t>(random_());
  }
  return record;
}

}  // namespace izo::kml
