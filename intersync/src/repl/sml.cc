// SPDX-License-Identifier: GPL-2.0
#include "repl/sml.h"

#include <linux/fs.h>
#include <sys/stat.h>

#include <string_view>
#include <utility>

namespace izo::repl {

using kml::kRootFid;
using kml::Op;

namespace {

/// Bytes of attributes that an object is born with; further ones follow, each by itself, as the
/// cache may not take any number in one transaction.
constexpr std::size_t kBornWith = 1024;

constexpr std::uint32_t kOwnerAndTimes =
    IZO_ATTR_MODE | IZO_ATTR_UID | IZO_ATTR_GID | IZO_ATTR_MTIME | IZO_ATTR_ATIME;
constexpr std::uint32_t kFlags = IZO_ATTR_FSFLAGS | IZO_ATTR_PROJID;
constexpr std::uint32_t kSealing = FS_IMMUTABLE_FL | FS_APPEND_FL;

Op birth_of(std::uint32_t mode) {
  switch (mode & S_IFMT) {
    case S_IFREG:
      return Op::kCreate;
    case S_IFDIR:
      return Op::kMkdir;
    case S_IFLNK:
      return Op::kSymlink;
    default:
      return Op::kMknod;
  }
}

bool is_acl(std::string_view name) {
  return name == "system.posix_acl_access" || name == "system.posix_acl_default";
}

class Sml {
 public:
  Sml(const Fid& fid, const Portrait& portrait, const Received& at, std::uint16_t origin)
      : fid_(fid), portrait_(portrait), at_(at), origin_(origin) {}

  void add_root() {
    add(Op::kSetattr, IZO_ASPECT_ATTR | IZO_ASPECT_TIMES).attr =
        part_of(portrait_.attr, kOwnerAndTimes);
    add_xattrs(0);
  }

  void add_object(const Name& name) {
    const kml::Attr& attr = portrait_.attr;
    Record& birth = add(birth_of(attr.mode), IZO_ASPECT_EXISTENCE | IZO_ASPECT_ATTR |
                                                 IZO_ASPECT_LINK | IZO_ASPECT_TIMES);
    birth.place = kml::Place{.dir = name.dir, .mtime = {}, .name = name.name};
    birth.nlink = S_ISDIR(attr.mode) ? 2 : 1;
    birth.attr = part_of(attr, kOwnerAndTimes | kFlags | IZO_ATTR_RDEV);
    birth.attr->fsflags &= ~kSealing;
    birth.target = portrait_.target;
    birth.flags = portrait_.xattrs_cut ? IZO_KML_XATTRS_CUT : 0;
    std::size_t bytes = 0;
    std::size_t born = 0;
    for (const kml::Xattr& one : portrait_.xattrs) {
      bytes += one.name.size() + one.value.size();
      if (bytes > kBornWith) {
        break;
      }
      birth.xattrs.push_back(one);
      born++;
    }
    add_body();
    add_xattrs(born);
  }

  void add_seal() {
    if ((portrait_.attr.fsflags & kSealing) != 0) {
      add(Op::kSetattr, IZO_ASPECT_ATTR).attr = part_of(portrait_.attr, kFlags);
    }
  }

  std::vector<Record> take() { return std::move(records_); }

 private:
  /// Right behind its file, so that nothing comes between them.
  void add_body() {
    if (!S_ISREG(portrait_.attr.mode) || portrait_.attr.size == 0) {
      return;
    }
    Record& close = add(Op::kClose, IZO_ASPECT_BODY | IZO_ASPECT_TIMES);
    close.flags = IZO_KML_WHOLE;
    close.attr = part_of(portrait_.attr, IZO_ATTR_SIZE | IZO_ATTR_MTIME | IZO_ATTR_CTIME);
  }

  Record& add(Op op, std::uint32_t aspects) {
    Record record;
    record.op = op;
    record.origin = origin_;
    record.recno = record.origin_recno = at_.recno + records_.size() + 1;
    record.offset = at_.offset;
    record.epoch = at_.epoch;
    record.aspects = aspects;
    record.object = fid_;
    records_.push_back(std::move(record));
    return records_.back();
  }

  void add_xattrs(std::size_t from) {
    for (std::size_t i = from; i < portrait_.xattrs.size(); i++) {
      const kml::Xattr& one = portrait_.xattrs[i];
      add(Op::kSetxattr, is_acl(one.name) ? IZO_ASPECT_ATTR : IZO_ASPECT_XATTR).xattrs = {one};
    }
  }

  Fid fid_;
  const Portrait& portrait_;
  Received at_;
  std::uint16_t origin_;
  std::vector<Record> records_;
};

}  // namespace

std::vector<Record> sml_of(const Fid& fid, const Name& name, const Portrait& portrait,
                           const Received& at, std::uint16_t origin) {
  Sml sml(fid, portrait, at, origin);
  if (fid == kRootFid) {
    sml.add_root();
  } else {
    sml.add_object(name);
  }
  sml.add_seal();
  return sml.take();
}

kml::Attr part_of(const kml::Attr& attr, std::uint32_t valid) {
  kml::Attr out;
  out.valid = attr.valid & valid;
  const auto take = [&](std::uint32_t field, auto member) {
    if (out.has(field)) {
      out.*member = attr.*member;
    }
  };
  take(IZO_ATTR_MODE, &kml::Attr::mode);
  take(IZO_ATTR_UID, &kml::Attr::uid);
  take(IZO_ATTR_GID, &kml::Attr::gid);
  take(IZO_ATTR_SIZE, &kml::Attr::size);
  take(IZO_ATTR_MTIME, &kml::Attr::mtime);
  take(IZO_ATTR_CTIME, &kml::Attr::ctime);
  take(IZO_ATTR_ATIME, &kml::Attr::atime);
  take(IZO_ATTR_RDEV, &kml::Attr::rdev);
  take(IZO_ATTR_FSFLAGS, &kml::Attr::fsflags);
  take(IZO_ATTR_PROJID, &kml::Attr::projid);
  return out;
}

bool seals(const Record& record) {
  return record.op == Op::kSetattr && record.attr && (record.attr->fsflags & kSealing) != 0;
}

void unseal(Record& record) {
  record.attr->fsflags &= ~kSealing;
}

}  // namespace izo::repl
