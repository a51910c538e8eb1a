// SPDX-License-Identifier: GPL-2.0
// Judging bytes that claim to be a record. The kernel's izo_record_judge() has the same rules in
// the same order; the corpus and a differential fuzz target hold the two together.

#include <sys/stat.h>

#include <algorithm>
#include <cstdio>
#include <limits>

#include "kml/codec.h"
#include "kml/wire.h"

namespace izo::kml {
namespace {

constexpr std::uint32_t kAspects = IZO_ASPECT_EXISTENCE | IZO_ASPECT_ATTR | IZO_ASPECT_XATTR |
                                   IZO_ASPECT_BODY | IZO_ASPECT_LINK | IZO_ASPECT_TIMES;
constexpr std::uint64_t kFileSizeMax = std::numeric_limits<std::int64_t>::max();
constexpr std::size_t kNameMax = 255;
constexpr std::size_t kTargetMax = 4095;

constexpr std::uint32_t bit(unsigned item) {
  return 1U << item;
}

/// What an operation's record must have and may have besides, its flags, and the type of what it
/// makes.
struct Form {
  std::uint32_t must;
  std::uint32_t may;
  std::uint32_t flags;
  std::uint32_t type;
};

constexpr std::uint32_t kPlace = bit(IZO_ITEM_PLACE);
constexpr std::uint32_t kAttr = bit(IZO_ITEM_ATTR);
constexpr std::uint32_t kXattr = bit(IZO_ITEM_XATTR);
constexpr std::uint32_t kHint = bit(IZO_ITEM_HINT);
constexpr std::uint32_t kAnywhere = bit(IZO_ITEM_PAD) | bit(IZO_ITEM_GROUPS);
constexpr std::uint32_t kNameless = IZO_KML_COMPLETE | IZO_KML_XATTRS_CUT;

/// The root is not made by a record, and has no body.
bool may_be_of_root(Op op) {
  switch (op) {
    case Op::kCreate:
    case Op::kMkdir:
    case Op::kMknod:
    case Op::kSymlink:
    case Op::kClose:
      return false;
    default:
      return true;
  }
}

std::optional<Form> form_of(std::uint16_t op) {
  switch (op) {
    case IZO_KML_CREATE:
      return Form{kPlace | kAttr, kXattr, kNameless, S_IFREG};
    case IZO_KML_MKDIR:
      return Form{kPlace | kAttr, kXattr, IZO_KML_XATTRS_CUT, S_IFDIR};
    case IZO_KML_MKNOD:
      return Form{kPlace | kAttr, kXattr, kNameless, 0};
    case IZO_KML_SYMLINK:
      return Form{kPlace | kAttr | bit(IZO_ITEM_TARGET), kXattr, kNameless, S_IFLNK};
    case IZO_KML_LINK:
      return Form{kPlace, kAttr, 0, 0};
    case IZO_KML_UNLINK:
    case IZO_KML_RMDIR:
      return Form{kPlace, 0, 0, 0};
    case IZO_KML_RENAME:
      return Form{kPlace | bit(IZO_ITEM_TO),
                  kAttr | bit(IZO_ITEM_REPLACED) | bit(IZO_ITEM_WHITEOUT) | kXattr,
                  IZO_KML_EXCHANGE | IZO_KML_WHITEOUT | IZO_KML_XATTRS_CUT, 0};
    case IZO_KML_SETATTR:
      return Form{kAttr, kHint, 0, 0};
    case IZO_KML_SETXATTR:
    case IZO_KML_REMOVEXATTR:
      return Form{kXattr, kAttr | kHint, 0, 0};
    case IZO_KML_CLOSE:
      return Form{kAttr, kHint | bit(IZO_ITEM_RANGES), IZO_KML_WHOLE | IZO_KML_RECOVERED, 0};
    default:
      return std::nullopt;
  }
}

std::string_view name_of_item(std::uint16_t type) {
  static constexpr std::array<std::string_view, IZO_ITEM_RANGES + 1> kNames{
      "PAD",      "PLACE",  "TO",    "HINT",   "ATTR",  "REPLACED",
      "WHITEOUT", "TARGET", "XATTR", "GROUPS", "RANGES"};
  return type < kNames.size() ? kNames[type] : "unknown item";
}

bool all_zero(Bytes bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

std::string text_of(Bytes bytes) {
  std::string text(bytes.size(), '\0');
  std::transform(bytes.begin(), bytes.end(), text.begin(),
                 [](std::byte b) { return static_cast<char>(std::to_integer<unsigned char>(b)); });
  return text;
}

template <typename... Args>
std::string print(const char* format, Args... args) {
  std::array<char, 160> text{};
  std::snprintf(text.data(), text.size(), format, args...);
  return text.data();
}

/// Fills a Record from whole bytes whose lengths and checksum are right. Each step returns whether
/// it could; what_ then says why not.
class RecordDecoder {
 public:
  explicit RecordDecoder(Bytes bytes) : bytes_(bytes) {}

  Decoded decode() {
    if (head() && items() && items_fit()) {
      return std::move(record_);
    }
    return Corrupt{std::move(what_)};
  }

 private:
  bool no(std::string what) {
    what_ = std::move(what);
    return false;
  }

  bool fid(const izo_fid& from, Fid& to) {
    to = {little(from.replica), little(from.ino), little(from.generation)};
    if (from.zero != 0) {
      return no("FID with bytes that should be zero");
    }
    if (to.replica == 0 ? to != kRootFid : to.ino == 0) {
      return no(print("FID %u:%llu:%x names no object", unsigned{to.replica},
                      static_cast<unsigned long long>(to.ino), to.generation));
    }
    return true;
  }

  bool time(std::uint64_t seconds, std::uint32_t nanoseconds, Time& to) {
    to = {static_cast<std::int64_t>(little(seconds)), little(nanoseconds)};
    return to.nanoseconds < 1'000'000'000U || no(print("time with %u nanoseconds", to.nanoseconds));
  }

  bool head() {
    const auto h = load<izo_kml_head>(bytes_);
    Record& r = record_;
    form_ = form_of(little(h.op));
    if (!form_) {
      return no(print("operation %u is not known", unsigned{little(h.op)}));
    }
    r.op = static_cast<Op>(little(h.op));
    r.length = little(h.len);
    r.origin = little(h.origin);
    r.offset = little(h.offset);
    r.epoch = little(h.epoch);
    r.recno = little(h.recno);
    r.origin_recno = little(h.origin_recno);
    r.seen = little(h.seen);
    r.time = little(h.time);
    r.uid = little(h.uid);
    r.gid = little(h.gid);
    r.aspects = little(h.aspects);
    r.nlink = little(h.nlink);
    r.flags = little(h.flags);
    if (h.zero != 0) {
      return no("head with bytes that should be zero");
    }
    if (r.recno == 0 || r.origin_recno == 0 || r.origin == 0) {
      return no("record without a number or an origin");
    }
    if ((r.aspects & ~kAspects) != 0) {
      return no(print("aspects 0x%x are not known", r.aspects & ~kAspects));
    }
    return fid(h.object, r.object);
  }

  bool place(Bytes data, std::optional<Place>& to) {
    if (data.size() <= sizeof(izo_kml_place) || data.size() - sizeof(izo_kml_place) > kNameMax) {
      return no(
          print("name of %zu bytes", data.size() - std::min(data.size(), sizeof(izo_kml_place))));
    }
    const auto p = load<izo_kml_place>(data);
    Place& place = to.emplace();
    if (p.zero != 0) {
      return no("place with bytes that should be zero");
    }
    place.name = text_of(data.subspan(sizeof(p)));
    if (!is_name(place.name)) {
      return no("name that no file can have");
    }
    return time(p.mtime, p.mtime_nsec, place.mtime) && fid(p.dir, place.dir);
  }

  bool attr(const izo_kml_attr& a, Attr& to) {
    to.valid = little(a.valid);
    to.mode = little(a.mode);
    to.uid = little(a.uid);
    to.gid = little(a.gid);
    to.fsflags = little(a.fsflags);
    to.projid = little(a.projid);
    to.rdev = little(a.rdev);
    to.size = little(a.size);
    if (to.valid == 0 || (to.valid & ~std::uint32_t{IZO_ATTR_ALL}) != 0 || a.zero != 0) {
      return no(print("attributes 0x%x", to.valid));
    }
    if (!time(a.mtime, a.mtime_nsec, to.mtime) || !time(a.ctime, a.ctime_nsec, to.ctime) ||
        !time(a.atime, a.atime_nsec, to.atime)) {
      return false;
    }
    constexpr Time kNone{};
    if ((!to.has(IZO_ATTR_MODE) && to.mode != 0) || (!to.has(IZO_ATTR_UID) && to.uid != 0) ||
        (!to.has(IZO_ATTR_GID) && to.gid != 0) || (!to.has(IZO_ATTR_SIZE) && to.size != 0) ||
        (!to.has(IZO_ATTR_MTIME) && to.mtime != kNone) ||
        (!to.has(IZO_ATTR_CTIME) && to.ctime != kNone) ||
        (!to.has(IZO_ATTR_ATIME) && to.atime != kNone) ||
        (!to.has(IZO_ATTR_RDEV) && to.rdev != 0) ||
        (!to.has(IZO_ATTR_FSFLAGS) && to.fsflags != 0) ||
        (!to.has(IZO_ATTR_PROJID) && to.projid != 0)) {
      return no("attribute that is set but not named as valid");
    }
    return to.size <= kFileSizeMax || no("size beyond that of any file");
  }

  /// ATTR of an object being made has its type; that of a body its size; no other has a size.
  bool attr_fits(const Attr& a) {
    const std::uint32_t type = a.mode & S_IFMT;
    switch (record_.op) {
      case Op::kCreate:
      case Op::kMkdir:
      case Op::kSymlink:
        return (a.has(IZO_ATTR_MODE) && type == form_->type) || no("mode of another type");
      case Op::kMknod:
        return (a.has(IZO_ATTR_MODE) &&
                (type == S_IFIFO || type == S_IFCHR || type == S_IFBLK || type == S_IFSOCK)) ||
               no("mode of another type");
      case Op::kClose:
        return a.has(IZO_ATTR_SIZE) || no("close without a size");
      default:
        return !a.has(IZO_ATTR_SIZE) || no("size in a record that cannot change it");
    }
  }

  bool xattr(Bytes data) {
    if (data.size() < sizeof(izo_kml_xattr)) {
      return no("item cut short");
    }
    const auto x = load<izo_kml_xattr>(data);
    const std::size_t name_len = little(x.name_len);
    const std::size_t value_len = little(x.value_len);
    if (name_len == 0 || name_len > kNameMax || sizeof(x) + name_len + value_len != data.size()) {
      return no(
          print("name of %zu bytes and value of %zu in %zu", name_len, value_len, data.size()));
    }
    if (record_.op == Op::kRemovexattr && value_len != 0) {
      return no("value of an attribute that is removed");
    }
    std::string name = text_of(data.subspan(sizeof(x), name_len));
    if (name.find('\0') != std::string::npos) {
      return no("attribute name with a NUL");
    }
    record_.xattrs.push_back({std::move(name), text_of(data.subspan(sizeof(x) + name_len))});
    return true;
  }

  bool replaced(Bytes data) {
    if (data.size() != sizeof(izo_kml_other)) {
      return no("wrong length");
    }
    const auto o = load<izo_kml_other>(data);
    Other& other = record_.replaced.emplace();
    other.nlink = little(o.nlink);
    return fid(o.fid, other.fid) && time(o.mtime, o.mtime_nsec, other.mtime);
  }

  bool whiteout(Bytes data) {
    if (data.size() != sizeof(izo_kml_whiteout)) {
      return no("wrong length");
    }
    const auto w = load<izo_kml_whiteout>(data);
    Whiteout& whiteout = record_.whiteout.emplace();
    if (!fid(w.fid, whiteout.fid)) {
      return false;
    }
    return whiteout.fid == kRootFid ? no("whiteout that is the root") : attr(w.attr, whiteout.attr);
  }

  bool target(Bytes data) {
    record_.target = text_of(data);
    return (!data.empty() && data.size() <= kTargetMax &&
            record_.target->find('\0') == std::string::npos) ||
           no("target that no symbolic link can have");
  }

  bool groups(Bytes data) {
    if (data.empty() || data.size() % sizeof(std::uint32_t) != 0 ||
        data.size() / sizeof(std::uint32_t) > IZO_KML_GROUPS_MAX) {
      return no("wrong length");
    }
    for (; !data.empty(); data = data.subspan(sizeof(std::uint32_t))) {
      record_.groups.push_back(little(load<std::uint32_t>(data)));
    }
    return true;
  }

  bool ranges(Bytes data) {
    if (data.empty() || data.size() % sizeof(izo_kml_range) != 0 ||
        data.size() / sizeof(izo_kml_range) > IZO_KML_RANGES_MAX) {
      return no("wrong length");
    }
    for (; !data.empty(); data = data.subspan(sizeof(izo_kml_range))) {
      const auto r = load<izo_kml_range>(data);
      const Range range{little(r.start), little(r.end)};
      if (range.start >= range.end || range.end > kFileSizeMax ||
          (!record_.ranges.empty() && range.start <= record_.ranges.back().end)) {
        return no("ranges that are not sorted and apart");
      }
      record_.ranges.push_back(range);
    }
    return true;
  }

  bool item(std::uint16_t type, Bytes data) {
    switch (type) {
      case IZO_ITEM_PAD:
        return (data.size() % 8 == 0 && data.size() <= kPadMost - sizeof(izo_kml_item) &&
                all_zero(data)) ||
               no("not a few zero bytes");
      case IZO_ITEM_PLACE:
        return place(data, record_.place);
      case IZO_ITEM_TO:
        return place(data, record_.to);
      case IZO_ITEM_HINT:
        return place(data, record_.hint) &&
               (record_.hint->mtime == Time{} || no("hint with a time"));
      case IZO_ITEM_ATTR:
        return data.size() == sizeof(izo_kml_attr)
                   ? attr(load<izo_kml_attr>(data), record_.attr.emplace()) &&
                         attr_fits(*record_.attr)
                   : no("wrong length");
      case IZO_ITEM_REPLACED:
        return replaced(data);
      case IZO_ITEM_WHITEOUT:
        return whiteout(data);
      case IZO_ITEM_TARGET:
        return target(data);
      case IZO_ITEM_XATTR:
        return xattr(data);
      case IZO_ITEM_GROUPS:
        return groups(data);
      case IZO_ITEM_RANGES:
        return ranges(data);
      default:
        return no(print("type %u", unsigned{type}));
    }
  }

  bool items() {
    Bytes rest = bytes_.subspan(sizeof(izo_kml_head),
                                bytes_.size() - sizeof(izo_kml_head) - sizeof(izo_kml_tail));
    while (!rest.empty()) {
      const std::size_t at = bytes_.size() - sizeof(izo_kml_tail) - rest.size();
      if (!one_item(rest)) {
        return no(print("item at byte %zu: ", at) + what_);
      }
    }
    return true;
  }

  /// Takes the first item off `rest`, whose length is a multiple of 8.
  bool one_item(Bytes& rest) {
    const auto header = load<izo_kml_item>(rest);
    const std::uint16_t type = little(header.type);
    const std::size_t size = little(header.len);
    if ((seen_ & bit(IZO_ITEM_PAD)) != 0) {
      return no("nothing may follow a PAD");
    }
    rest = rest.subspan(sizeof(header));
    if (header.zero != 0 || type > IZO_ITEM_RANGES) {
      return no(print("type %u is not known", unsigned{type}));
    }
    if (size > rest.size()) {
      return no(print("%zu bytes, but the record has only %zu more", size, rest.size()));
    }
    if ((seen_ & bit(type)) != 0 && type != IZO_ITEM_XATTR) {
      return no("a second " + std::string(name_of_item(type)));
    }
    if (!item(type, rest.first(size))) {
      return no(std::string(name_of_item(type)) + ": " + what_);
    }
    const std::size_t room = (size + 7) & ~std::size_t{7};
    if (!all_zero(rest.subspan(size, room - size))) {
      return no(std::string(name_of_item(type)) + ": bytes behind it that should be zero");
    }
    seen_ |= bit(type);
    rest = rest.subspan(room);
    return true;
  }

  /// Do the items agree with the operation and its flags?
  bool items_fit() {
    const std::uint32_t flags = record_.flags;
    const std::uint32_t missing = form_->must & ~seen_;
    const std::uint32_t extra = seen_ & ~(form_->must | form_->may | kAnywhere);
    const std::string op(name_of(record_.op));
    if (record_.object == kRootFid && !may_be_of_root(record_.op)) {
      return no(op + " of the root");
    }
    for (std::uint16_t type = 0; type <= IZO_ITEM_RANGES; type++) {
      if (((missing | extra) & bit(type)) != 0) {
        return no(op + ((missing & bit(type)) != 0 ? " without " : " with ") +
                  std::string(name_of_item(type)));
      }
    }
    if ((flags & ~(form_->flags | IZO_KML_GROUPS_CUT)) != 0) {
      return no(op + print(" with flags 0x%x", flags));
    }
    const bool whiteout = (flags & IZO_KML_WHITEOUT) != 0;
    switch (record_.op) {
      case Op::kSetxattr:
      case Op::kRemovexattr:
        return record_.xattrs.size() == 1 || no(op + " of more than one attribute");
      case Op::kRename:
        if ((flags & IZO_KML_EXCHANGE) != 0 && !record_.replaced) {
          return no("exchange without REPLACED");
        }
        if ((flags & IZO_KML_EXCHANGE) != 0 && whiteout) {
          return no("exchange with WHITEOUT");
        }
        return (whiteout == record_.whiteout.has_value() && (whiteout || record_.xattrs.empty())) ||
               no("rename whose flag WHITEOUT does not agree with its items");
      case Op::kClose:
        if ((flags & IZO_KML_RECOVERED) != 0 && (flags & IZO_KML_WHOLE) == 0) {
          return no("recovered close that is not WHOLE");
        }
        return ((flags & IZO_KML_WHOLE) != 0) == record_.ranges.empty() ||
               no("close needs either RANGES or the flag WHOLE");
      default:
        return true;
    }
  }

  Bytes bytes_;
  Record record_;
  std::optional<Form> form_;
  std::uint32_t seen_ = 0;  ///< Items so far, as bits.
  std::string what_;
};

}  // namespace

Decoded decode(Bytes bytes) {
  if (bytes.size() < IZO_KML_FILLER_HEAD) {
    return NeedMore{IZO_KML_FILLER_HEAD};
  }
  // A filler may end before a whole head would.
  izo_kml_head head{};
  std::memcpy(&head, bytes.data(), IZO_KML_FILLER_HEAD);
  const std::uint32_t length = little(head.len);
  const bool filler = little(head.op) == IZO_KML_FILLER;
  if (little(head.magic) != IZO_KML_MAGIC) {
    return Corrupt{print("magic 0x%08x instead of 0x%08x", little(head.magic), IZO_KML_MAGIC)};
  }
  if (length % 8 != 0 || length > IZO_KML_RECORD_MAX ||
      length < (filler ? std::size_t{IZO_KML_FILLER_MIN} : IZO_KML_RECORD_MIN)) {
    return Corrupt{print("length %u", length)};
  }
  if (bytes.size() < length) {
    return NeedMore{length};
  }
  bytes = bytes.first(length);
  const auto tail = load<izo_kml_tail>(bytes.last(sizeof(izo_kml_tail)));
  if (tail.len != head.len || little(tail.magic) != IZO_KML_TAIL_MAGIC) {
    return Corrupt{"tail does not agree with the head"};
  }
  const std::uint32_t crc = crc32c_without(filler ? bytes.first(IZO_KML_FILLER_HEAD) : bytes,
                                           offsetof(izo_kml_head, crc));
  if (little(head.crc) != crc) {
    return Corrupt{print("checksum 0x%08x, but the bytes have 0x%08x", little(head.crc), crc)};
  }
  if (!filler) {
    return RecordDecoder(bytes).decode();
  }
  if (head.origin != 0) {
    return Corrupt{"filler with an origin"};
  }
  return Filler{length, little(head.offset), little(head.epoch)};
}

DecodedHeader decode_header(Bytes bytes) {
  if (bytes.size() < sizeof(izo_kml_header)) {
    return NeedMore{sizeof(izo_kml_header)};
  }
  bytes = bytes.first(sizeof(izo_kml_header));
  const auto h = load<izo_kml_header>(bytes);
  if (little(h.magic) != IZO_KML_HEADER_MAGIC) {
    return Corrupt{"not a log: the magic of its header is missing"};
  }
  if (little(h.version) != IZO_KML_VERSION) {
    return Corrupt{print("version %u of the log's format; this program knows %u", little(h.version),
                         unsigned{IZO_KML_VERSION})};
  }
  if (little(h.crc) != crc32c_without(bytes, offsetof(izo_kml_header, crc))) {
    return Corrupt{"checksum of the header"};
  }
  Header header{text_of(bytes.subspan(offsetof(izo_kml_header, fileset), sizeof(h.fileset))),
                text_of(bytes.subspan(offsetof(izo_kml_header, replica), sizeof(h.replica))),
                little(h.self),
                little(h.block_size),
                little(h.flags),
                little(h.epoch),
                little(h.first),
                little(h.first_recno)};
  if (little(h.len) != sizeof(h) || h.zero != 0 ||
      !all_zero(bytes.subspan(offsetof(izo_kml_header, reserved))) || header.self == 0 ||
      header.first < sizeof(h) || header.first % 8 != 0 || header.first_recno == 0 ||
      (header.flags & ~std::uint32_t{IZO_KML_H_OVERFLOW}) != 0) {
    return Corrupt{"header with a field that no log has"};
  }
  return header;
}

}  // namespace izo::kml
