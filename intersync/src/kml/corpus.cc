// SPDX-License-Identifier: GPL-2.0
#include "kml/corpus.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <utility>

#include "kml/codec.h"
#include "kml/stream_reader.h"
#include "kml/wire.h"

namespace izo::kml {
namespace {

using Buffer = std::vector<std::byte>;
using Change = std::function<void(Record&)>;

constexpr std::uint64_t kEpoch = 0x1122334455667788;
constexpr std::uint64_t kStart = sizeof(izo_kml_header);
constexpr std::uint32_t kBlock = 4096;
constexpr Time kThen{.seconds = 1795513769, .nanoseconds = 5};
constexpr Fid kDirectory{.replica = 1, .ino = 1200, .generation = 0xabcd0000};
constexpr Fid kFile{.replica = 1, .ino = 1234, .generation = 0xabcd0001};
constexpr Fid kTheirs{.replica = 2, .ino = 99, .generation = 7};

Attr birth(std::uint32_t mode) {
  return {.valid = IZO_ATTR_MODE | IZO_ATTR_UID | IZO_ATTR_GID | IZO_ATTR_MTIME | IZO_ATTR_CTIME |
                   IZO_ATTR_ATIME,
          .mode = mode,
          .uid = 1000,
          .gid = 100,
          .mtime = kThen,
          .ctime = kThen,
          .atime = kThen};
}

Attr ctime() {
  return {.valid = IZO_ATTR_CTIME, .ctime = kThen};
}

Place at(std::string name) {
  return {.dir = kDirectory, .mtime = kThen, .name = std::move(name)};
}

/// The least that a record of this operation has.
Record plain(Op op) {
  Record record{.op = op,
                .origin = 1,
                .offset = kStart,
                .epoch = kEpoch,
                .recno = 1,
                .origin_recno = 1,
                .time = 1795513769000000005,
                .uid = 1000,
                .gid = 100,
                .nlink = 1,
                .object = kFile};
  switch (op) {
    case Op::kCreate:
      record.attr = birth(S_IFREG | 0644);
      break;
    case Op::kMkdir:
      record.attr = birth(S_IFDIR | 0755);
      record.nlink = 2;
      break;
    case Op::kMknod:
      record.attr = birth(S_IFBLK | 0660);
      record.attr->valid |= IZO_ATTR_RDEV;
      record.attr->rdev = 8ULL << 32 | 1;
      break;
    case Op::kSymlink:
      record.attr = birth(S_IFLNK | 0777);
      record.target = "../target";
      break;
    case Op::kRename:
      record.to = at("new");
      break;
    case Op::kSetattr:
      record.attr = {
          .valid = IZO_ATTR_MODE | IZO_ATTR_CTIME, .mode = S_IFREG | 0600, .ctime = kThen};
      break;
    case Op::kSetxattr:
      record.xattrs = {{.name = "user.key", .value = "value"}};
      break;
    case Op::kRemovexattr:
      record.xattrs = {{.name = "user.key", .value = ""}};
      break;
    case Op::kClose:
      record.attr = {.valid = IZO_ATTR_SIZE | IZO_ATTR_MTIME | IZO_ATTR_CTIME,
                     .size = 5000,
                     .mtime = kThen,
                     .ctime = kThen};
      record.flags = IZO_KML_WHOLE;
      break;
    default:
      break;
  }
  if (op != Op::kSetattr && op != Op::kSetxattr && op != Op::kRemovexattr && op != Op::kClose) {
    record.place = at("name");
  }
  return record;
}

Record changed(Op op, const Change& change) {
  Record record = plain(op);
  change(record);
  return record;
}

constexpr Op kEach[] = {Op::kCreate,  Op::kMkdir,    Op::kMknod,       Op::kSymlink,
                        Op::kLink,    Op::kUnlink,   Op::kRmdir,       Op::kRename,
                        Op::kSetattr, Op::kSetxattr, Op::kRemovexattr, Op::kClose};

void add_good(std::vector<CorpusFile>& out) {
  const auto add = [&](std::string name, const Record& record) {
    out.push_back({"good/" + std::move(name), encode(record), "record"});
  };
  for (const Op op : kEach) {
    add(std::string(name_of(op)), plain(op));
  }
  add("create-inherits", changed(Op::kCreate, [](Record& r) {
        r.attr->valid |= IZO_ATTR_SIZE | IZO_ATTR_FSFLAGS | IZO_ATTR_PROJID;
        r.attr->fsflags = 0x10;
        r.attr->projid = 42;
        r.aspects = IZO_ASPECT_EXISTENCE | IZO_ASPECT_BODY;
        r.xattrs = {{.name = "security.label", .value = std::string("a\0b", 3)},
                    {.name = "user.empty", .value = ""}};
        r.groups = {0, 4, 0xfffffffe};
      }));
  add("create-complete",
      changed(Op::kCreate, [](Record& r) { r.flags = IZO_KML_COMPLETE | IZO_KML_XATTRS_CUT; }));
  add("mknod-fifo", changed(Op::kMknod, [](Record& r) { r.attr = birth(S_IFIFO | 0600); }));
  add("mkdir-in-root", changed(Op::kMkdir, [](Record& r) { r.place->dir = kRootFid; }));
  add("link-with-ctime", changed(Op::kLink, [](Record& r) { r.attr = ctime(); }));
  add("rename-over", changed(Op::kRename, [](Record& r) {
        r.attr = ctime();
        r.replaced = Other{.fid = kTheirs, .nlink = 0, .mtime = kThen};
      }));
  add("rename-exchange", changed(Op::kRename, [](Record& r) {
        r.flags = IZO_KML_EXCHANGE;
        r.replaced = Other{.fid = kTheirs, .nlink = 2, .mtime = kThen};
      }));
  add("rename-whiteout", changed(Op::kRename, [](Record& r) {
        r.flags = IZO_KML_WHITEOUT;
        r.whiteout =
            Whiteout{.fid = {.replica = 1, .ino = 1300, .generation = 1}, .attr = birth(S_IFCHR)};
        r.xattrs = {{.name = "security.label", .value = "x"}};
      }));
  add("setattr-of-root", changed(Op::kSetattr, [](Record& r) { r.object = kRootFid; }));
  add("setattr-hint", changed(Op::kSetattr, [](Record& r) {
        r.hint = Place{.dir = kDirectory, .mtime = {}, .name = "perhaps"};
      }));
  add("setattr-before-1970", changed(Op::kSetattr, [](Record& r) {
        r.attr->valid |= IZO_ATTR_MTIME;
        r.attr->mtime = {.seconds = -1, .nanoseconds = 999'999'999};
      }));
  add("setxattr-empty", changed(Op::kSetxattr, [](Record& r) { r.xattrs[0].value = ""; }));
  add("close-ranges", changed(Op::kClose, [](Record& r) {
        r.flags = 0;
        r.ranges = {{0, 1}, {4096, 8192}, {1ULL << 40, (1ULL << 63) - 1}};
      }));
  add("close-recovered",
      changed(Op::kClose, [](Record& r) { r.flags = IZO_KML_WHOLE | IZO_KML_RECOVERED; }));
  add("forwarded", changed(Op::kUnlink, [](Record& r) {
        r.origin = 2;
        r.origin_recno = 900;
        r.seen = 12345;
        r.object = kTheirs;
      }));
  add("longest-name",
      changed(Op::kUnlink, [](Record& r) { r.place->name = std::string(255, '\xff'); }));
  add("longest-target",
      changed(Op::kSymlink, [](Record& r) { r.target = std::string(4095, 't'); }));
  add("most-groups", changed(Op::kUnlink, [](Record& r) {
        r.flags = IZO_KML_GROUPS_CUT;
        r.groups.assign(IZO_KML_GROUPS_MAX, 7);
      }));
  add("padded-least", changed(Op::kUnlink, [](Record& r) {
        r.length = static_cast<std::uint32_t>(encode(r).size()) + 8;
        r.offset = kBlock - r.length;
      }));
  add("padded-most", changed(Op::kUnlink, [](Record& r) {
        r.length = static_cast<std::uint32_t>(encode(r).size()) + 32;
        r.offset = kBlock - r.length;
      }));
  for (const std::uint32_t length : {std::uint32_t{IZO_KML_FILLER_MIN}, 64U, kBlock}) {
    out.push_back({"good/filler-" + std::to_string(length),
                   encode(Filler{.length = length, .offset = 4096, .epoch = kEpoch}), "filler"});
  }
}

/// Bytes of a record to be spoiled and sealed again.
class Forged {
 public:
  explicit Forged(const Record& record) : bytes_(encode(record)) {}

  template <typename T>
  Forged& put(std::size_t at, T value) {
    value = little(value);
    std::memcpy(&bytes_[at], &value, sizeof(value));
    return *this;
  }
  Forged& seal() {
    return put(offsetof(izo_kml_head, crc), std::uint32_t{0})
        .put(offsetof(izo_kml_head, crc), crc());
  }
  [[nodiscard]] const Buffer& bytes() const { return bytes_; }
  [[nodiscard]] std::size_t size() const { return bytes_.size(); }

 private:
  [[nodiscard]] std::uint32_t crc() const {
    return crc32c_without(bytes_, offsetof(izo_kml_head, crc));
  }

  Buffer bytes_;
};

constexpr std::size_t kFirstItem = sizeof(izo_kml_head);
constexpr std::size_t kFirstData = kFirstItem + sizeof(izo_kml_item);

/// The frame: what is wrong is seen before the checksum is.
void add_bad_frames(std::vector<CorpusFile>& out) {
  const auto add = [&](std::string name, const Forged& forged, std::string why) {
    out.push_back({"fail/" + std::move(name), forged.bytes(), std::move(why)});
  };
  const Forged whole(plain(Op::kUnlink));
  const auto size = static_cast<std::uint32_t>(whole.size());
  add("magic", Forged(whole).put(0, std::uint32_t{0x4c4d4b48}),
      "magic 0x4c4d4b48 instead of 0x4c4d4b49");
  add("length-odd", Forged(whole).put(4, size + 4), "length " + std::to_string(size + 4));
  add("length-small", Forged(whole).put(4, std::uint32_t{104}), "length 104");
  add("length-huge", Forged(whole).put(4, std::uint32_t{0xfffffff8}), "length 4294967288");
  add("tail-length", Forged(whole).put(whole.size() - 8, size + 8),
      "tail does not agree with the head");
  add("tail-magic", Forged(whole).put(whole.size() - 4, std::uint32_t{0}),
      "tail does not agree with the head");
  add("checksum", Forged(whole).put(kFirstData + 1, std::uint16_t{0x1111}),
      "checksum 0x94daaad8, but the bytes have 0x5388cccb");
}

/// The head, under a checksum that is right.
void add_bad_heads(std::vector<CorpusFile>& out) {
  const auto add = [&](std::string name, std::size_t field, auto value, std::string why) {
    out.push_back({"fail/" + std::move(name),
                   Forged(plain(Op::kUnlink)).put(field, value).seal().bytes(), std::move(why)});
  };
  const std::size_t object = offsetof(izo_kml_head, object);
  add("op-unknown", offsetof(izo_kml_head, op), std::uint16_t{28}, "operation 28 is not known");
  add("op-reserved", offsetof(izo_kml_head, op), std::uint16_t{2}, "operation 2 is not known");
  add("head-zero", offsetof(izo_kml_head, zero), std::uint32_t{1},
      "head with bytes that should be zero");
  add("recno-0", offsetof(izo_kml_head, recno), std::uint64_t{0},
      "record without a number or an origin");
  add("origin-0", offsetof(izo_kml_head, origin), std::uint16_t{0},
      "record without a number or an origin");
  add("aspects", offsetof(izo_kml_head, aspects), std::uint32_t{0x41},
      "aspects 0x40 are not known");
  add("fid-zero", object + offsetof(izo_fid, zero), std::uint16_t{1},
      "FID with bytes that should be zero");
  add("fid-nothing", object + offsetof(izo_fid, ino), std::uint64_t{0},
      "FID 1:0:abcd0001 names no object");
  add("fid-no-replica", object + offsetof(izo_fid, replica), std::uint16_t{0},
      "FID 0:1234:abcd0001 names no object");
  add("flags", offsetof(izo_kml_head, flags), std::uint32_t{IZO_KML_WHOLE},
      "unlink with flags 0x4");
}

/// Items as bytes that no encoder makes.
void add_bad_items(std::vector<CorpusFile>& out) {
  const auto add = [&](std::string name, Op op, std::size_t field, auto value,
                       const std::string& why) {
    out.push_back({"fail/" + std::move(name), Forged(plain(op)).put(field, value).seal().bytes(),
                   "item at byte " + std::to_string(kFirstItem) + ": " + why});
  };
  const Op unlink = Op::kUnlink;
  const Op setattr = Op::kSetattr;
  const Op setxattr = Op::kSetxattr;
  const std::size_t item_len = kFirstItem + offsetof(izo_kml_item, len);
  add("item-unknown", unlink, kFirstItem, std::uint16_t{11}, "type 11 is not known");
  add("item-zero", unlink, kFirstItem + 2, std::uint16_t{1}, "type 1 is not known");
  add("item-beyond", unlink, item_len, std::uint32_t{0xffffffff},
      "4294967295 bytes, but the record has only 40 more");
  add("item-shorter", unlink, item_len, std::uint32_t{35},
      "PLACE: bytes behind it that should be zero");
  add("place-zero", unlink, kFirstData + offsetof(izo_kml_place, zero), std::uint32_t{1},
      "PLACE: place with bytes that should be zero");
  add("place-time", unlink, kFirstData + offsetof(izo_kml_place, mtime_nsec),
      std::uint32_t{1'000'000'000}, "PLACE: time with 1000000000 nanoseconds");
  add("attr-none", setattr, kFirstData, std::uint32_t{0}, "ATTR: attributes 0x0");
  add("attr-unknown", setattr, kFirstData, std::uint32_t{0x421}, "ATTR: attributes 0x421");
  add("attr-unnamed", setattr, kFirstData, std::uint32_t{IZO_ATTR_CTIME},
      "ATTR: attribute that is set but not named as valid");
  add("attr-length", setattr, item_len, std::uint32_t{sizeof(izo_kml_attr) - 8},
      "ATTR: wrong length");
  add("xattr-short", setxattr, item_len, std::uint32_t{4}, "XATTR: item cut short");
  add("xattr-no-name", setxattr, kFirstData, std::uint32_t{0},
      "XATTR: name of 0 bytes and value of 5 in 21");
  add("xattr-overflow", setxattr, kFirstData + 4, std::uint32_t{0xfffffff5},
      "XATTR: name of 8 bytes and value of 4294967285 in 21");
  out.push_back({"fail/item-second",
                 Forged(changed(unlink, [](Record& r) { r.groups.assign(10, 0); }))
                     .put(kFirstItem + sizeof(izo_kml_item) + 40, std::uint16_t{IZO_ITEM_PLACE})
                     .seal()
                     .bytes(),
                 "item at byte " + std::to_string(kFirstData + 40) + ": a second PLACE"});
  const Forged pad(changed(
      unlink, [](Record& r) { r.length = static_cast<std::uint32_t>(encode(r).size()) + 32; }));
  const std::size_t pad_at = pad.size() - sizeof(izo_kml_tail) - 32;
  out.push_back({"fail/pad-not-zero", Forged(pad).put(pad_at + 12, std::uint16_t{1}).seal().bytes(),
                 "item at byte " + std::to_string(pad_at) + ": PAD: not a few zero bytes"});
  out.push_back(
      {"fail/pad-odd",
       Forged(pad).put(pad_at + offsetof(izo_kml_item, len), std::uint32_t{23}).seal().bytes(),
       "item at byte " + std::to_string(pad_at) + ": PAD: not a few zero bytes"});
  out.push_back(
      {"fail/pad-of-a-filler",
       Forged(changed(unlink, [](Record& r) { r.groups.assign(8, 0); }))
           .put(kFirstItem + sizeof(izo_kml_item) + 40, std::uint16_t{IZO_ITEM_PAD})
           .seal()
           .bytes(),
       "item at byte " + std::to_string(kFirstData + 40) + ": PAD: not a few zero bytes"});
  out.push_back(
      {"fail/pad-not-last",
       Forged(pad).put(pad_at + offsetof(izo_kml_item, len), std::uint32_t{16}).seal().bytes(),
       "item at byte " + std::to_string(pad_at + 24) + ": nothing may follow a PAD"});
}

/// Adds records with a change, sealed, that a reader refuses with these words.
auto adder(std::vector<CorpusFile>& out) {
  return [&out](std::string name, Op op, const std::string& why, const Change& change) {
    out.push_back({"fail/" + std::move(name), encode(changed(op, change)), why});
  };
}

std::string first_item() {
  return "item at byte " + std::to_string(kFirstItem) + ": ";
}

/// Names that no file can have.
void add_bad_names(std::vector<CorpusFile>& out) {
  const auto add = adder(out);
  const auto add_name = [&](const std::string& what, const std::string& name) {
    add("name-" + what, Op::kUnlink, first_item() + "PLACE: name that no file can have",
        [&](Record& r) { r.place->name = name; });
  };
  add_name("dot", ".");
  add_name("dot-dot", "..");
  add_name("slash", "a/b");
  add_name("nul", std::string("a\0b", 3));
  add("name-empty", Op::kUnlink, first_item() + "PLACE: name of 0 bytes",
      [](Record& r) { r.place->name = ""; });
  add("name-long", Op::kUnlink, first_item() + "PLACE: name of 256 bytes",
      [](Record& r) { r.place->name.assign(256, 'n'); });
}

/// Items whose values no change has.
void add_bad_values(std::vector<CorpusFile>& out) {
  const auto add = adder(out);
  add("hint-time", Op::kSetattr, first_item() + "HINT: hint with a time",
      [](Record& r) { r.hint = at("h"); });
  add("size-of-setattr", Op::kSetattr,
      first_item() + "ATTR: size in a record that cannot change it",
      [](Record& r) { r.attr->valid |= IZO_ATTR_SIZE; });
  add("size-negative", Op::kClose, first_item() + "ATTR: size beyond that of any file",
      [](Record& r) { r.attr->size = 1ULL << 63; });
  add("size-missing", Op::kClose, first_item() + "ATTR: close without a size",
      [](Record& r) { r.attr = ctime(); });
  add("type-of-mkdir", Op::kMkdir, "item at byte 152: ATTR: mode of another type",
      [](Record& r) { r.attr->mode = S_IFREG | 0755; });
  add("type-of-mknod", Op::kMknod, "item at byte 152: ATTR: mode of another type",
      [](Record& r) { r.attr->mode = S_IFDIR; });
  add("target-nul", Op::kSymlink, "item at byte 240: TARGET: target that no symbolic link can have",
      [](Record& r) { r.target = std::string("a\0b", 3); });
  add("target-long", Op::kSymlink,
      "item at byte 240: TARGET: target that no symbolic link can have",
      [](Record& r) { r.target->assign(4096, 't'); });
  add("groups-many", Op::kUnlink, "item at byte 152: GROUPS: wrong length",
      [](Record& r) { r.groups.assign(IZO_KML_GROUPS_MAX + 1, 1); });
  add("ranges-many", Op::kClose, "item at byte 192: RANGES: wrong length", [](Record& r) {
    r.flags = 0;
    for (std::uint64_t i = 0; i <= IZO_KML_RANGES_MAX; i++) {
      r.ranges.push_back({3 * i, 3 * i + 1});
    }
  });
  const auto add_ranges = [&](const std::string& what, const Range& second) {
    add("ranges-" + what, Op::kClose,
        "item at byte 192: RANGES: ranges that are not sorted and apart", [&](Record& r) {
          r.flags = 0;
          r.ranges = {{4, 8}, second};
        });
  };
  add_ranges("touch", {8, 9});
  add_ranges("empty", {12, 12});
  add_ranges("beyond", {12, 1ULL << 63});
  add_ranges("backwards", {1, 2});
  add("xattr-nul", Op::kSetxattr, first_item() + "XATTR: attribute name with a NUL",
      [](Record& r) { r.xattrs[0].name[2] = '\0'; });
  add("removexattr-value", Op::kRemovexattr,
      first_item() + "XATTR: value of an attribute that is removed",
      [](Record& r) { r.xattrs[0].value = "v"; });
}

/// Records that say what no operation does.
void add_bad_records(std::vector<CorpusFile>& out) {
  const auto add = adder(out);
  add("setxattr-two", Op::kSetxattr, "setxattr of more than one attribute",
      [](Record& r) { r.xattrs.push_back({.name = "user.b", .value = "2"}); });
  add("unlink-of-nothing", Op::kUnlink, "unlink without PLACE", [](Record& r) { r.place.reset(); });
  add("unlink-with-target", Op::kUnlink, "unlink with TARGET", [](Record& r) { r.target = "t"; });
  add("symlink-without-target", Op::kSymlink, "symlink without TARGET",
      [](Record& r) { r.target.reset(); });
  add("close-of-the-root", Op::kClose, "close of the root", [](Record& r) { r.object = kRootFid; });
  add("mkdir-of-the-root", Op::kMkdir, "mkdir of the root", [](Record& r) { r.object = kRootFid; });
  add("whiteout-is-the-root", Op::kRename, "item at byte 200: WHITEOUT: whiteout that is the root",
      [](Record& r) {
        r.flags = IZO_KML_WHITEOUT;
        r.whiteout = Whiteout{.fid = kRootFid, .attr = birth(S_IFCHR)};
      });
  add("exchange-with-nothing", Op::kRename, "exchange without REPLACED",
      [](Record& r) { r.flags = IZO_KML_EXCHANGE; });
  add("exchange-with-whiteout", Op::kRename, "exchange with WHITEOUT", [](Record& r) {
    r.flags = IZO_KML_EXCHANGE | IZO_KML_WHITEOUT;
    r.replaced = Other{.fid = kTheirs, .nlink = 2, .mtime = kThen};
    r.whiteout =
        Whiteout{.fid = {.replica = 1, .ino = 1300, .generation = 1}, .attr = birth(S_IFCHR)};
  });
  add("whiteout-missing", Op::kRename, "rename whose flag WHITEOUT does not agree with its items",
      [](Record& r) { r.flags = IZO_KML_WHITEOUT; });
  add("rename-xattr", Op::kRename, "rename whose flag WHITEOUT does not agree with its items",
      [](Record& r) { r.xattrs = {{.name = "user.a", .value = ""}}; });
  add("close-of-nothing", Op::kClose, "close needs either RANGES or the flag WHOLE",
      [](Record& r) { r.flags = 0; });
  add("recovered-in-part", Op::kClose, "recovered close that is not WHOLE", [](Record& r) {
    r.flags = IZO_KML_RECOVERED;
    r.ranges = {{0, 1}};
  });
}

/// A header, some records, and fillers as the kernel leaves them at the end of a transaction.
Buffer sample_stream(std::vector<std::size_t>& starts) {
  Buffer out = encode(Header{.fileset = "InterMezzo-files",
                             .replica = "InterMezzo-repl.",
                             .self = 1,
                             .block_size = kBlock,
                             .flags = 0,
                             .epoch = kEpoch,
                             .first = kStart,
                             .first_recno = 1});
  for (std::uint64_t recno = 1; recno <= std::size(kEach); recno++) {
    Record record = plain(kEach[recno - 1]);
    record.offset = out.size();
    record.recno = record.origin_recno = recno;
    const Buffer bytes = encode(record);
    starts.push_back(out.size());
    out.insert(out.end(), bytes.begin(), bytes.end());
    if (recno % 5 == 0) {
      const Buffer filler = encode(Filler{.length = static_cast<std::uint32_t>(-out.size() % 512),
                                          .offset = out.size(),
                                          .epoch = kEpoch});
      out.insert(out.end(), filler.begin(), filler.end());
    }
  }
  return out;
}

void add_crashes(std::vector<CorpusFile>& out) {
  std::vector<std::size_t> starts;
  const Buffer whole = sample_stream(starts);
  const auto add = [&](std::string name, Buffer bytes) {
    std::string verdict = verdict_on_stream(bytes);
    out.push_back({"crash/" + std::move(name), std::move(bytes), std::move(verdict)});
  };
  const auto cut = [&](std::size_t count) {
    return Buffer(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(count));
  };
  const auto spoiled = [&](std::size_t from, std::size_t count, std::byte with) {
    Buffer bytes = whole;
    std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(from), count, with);
    return bytes;
  };
  add("whole", whole);
  add("cut-in-header", cut(60));
  add("cut-after-header", cut(kStart));
  add("cut-in-head", cut(starts[3] + 50));
  add("cut-in-item", cut(starts[3] + 130));
  add("cut-before-tail", cut(starts[4] - 8));
  add("cut-in-filler", cut(starts[5] - 20));
  // Of a sector that was not written the medium has what was there before.
  add("torn-sector-of-zeros", spoiled(1024, 512, std::byte{0}));
  add("torn-sector-of-ones", spoiled(1024, 512, std::byte{0xff}));
  Buffer stale = whole;
  std::copy_n(whole.begin() + static_cast<std::ptrdiff_t>(starts[0]), 512,
              stale.begin() + static_cast<std::ptrdiff_t>(starts[5]));
  add("older-sector", stale);
  Buffer lost(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(starts[6]));
  lost.insert(lost.end(), whole.begin() + static_cast<std::ptrdiff_t>(starts[7]), whole.end());
  add("record-lost", lost);
}

std::string hex(const Buffer& bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string out;
  for (const std::byte byte : bytes) {
    out += kDigits[std::to_integer<unsigned>(byte) >> 4];
    out += kDigits[std::to_integer<unsigned>(byte) & 15];
  }
  return out;
}

}  // namespace

std::string verdict_on_record(const std::vector<std::byte>& bytes) {
  const Decoded decoded = decode(bytes);
  if (const auto* corrupt = std::get_if<Corrupt>(&decoded)) {
    return corrupt->what;
  }
  if (std::holds_alternative<NeedMore>(decoded)) {
    return "more bytes are needed";
  }
  return std::holds_alternative<Record>(decoded) ? "record" : "filler";
}

std::string verdict_on_stream(const std::vector<std::byte>& bytes) {
  StreamReader reader;
  reader.feed(bytes);
  for (int records = 0;; records++) {
    const StreamReader::Next next = reader.next();
    if (std::holds_alternative<Record>(next)) {
      continue;
    }
    const auto* corrupt = std::get_if<Corrupt>(&next);
    const std::string why =
        corrupt != nullptr ? corrupt->what
        : reader.waiting() == 0
            ? "offset " + std::to_string(reader.position().offset) + ": end"
            : "offset " + std::to_string(reader.position().offset) + ": cut off";
    return std::to_string(records) + " records, " + why;
  }
}

std::string corpus_for_the_kernel() {
  // Larger files are for user space only, to keep the header short.
  constexpr std::size_t kMost = 600;
  constexpr std::size_t kWidth = 84;
  std::string out =
      "/* SPDX-License-Identifier: GPL-2.0-only */\n"
      "/* Records from intersync/src/kml/corpus; printed by make_corpus --kernel, do not edit. "
      "*/\n\n"
      "static const struct izo_kml_sample {\n"
      "\tconst char *name;\n"
      "\tconst char *hex;\n"
      "} izo_kml_samples[] = {\n";
  for (const CorpusFile& file : make_corpus()) {
    if (file.name.starts_with("crash/") || file.bytes.size() > kMost) {
      continue;
    }
    out += "\t{ \"" + file.name + "\",\n";
    const std::string text = hex(file.bytes);
    for (std::size_t at = 0; at < text.size(); at += kWidth) {
      out += "\t  \"" + text.substr(at, kWidth) + (at + kWidth < text.size() ? "\"\n" : "\" },\n");
    }
  }
  return out + "};\n";
}

std::vector<CorpusFile> make_corpus() {
  std::vector<CorpusFile> out;
  add_good(out);
  add_bad_frames(out);
  add_bad_heads(out);
  add_bad_items(out);
  add_bad_names(out);
  add_bad_values(out);
  add_bad_records(out);
  add_crashes(out);
  return out;
}

}  // namespace izo::kml
