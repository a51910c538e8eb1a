// SPDX-License-Identifier: GPL-2.0
// Records to bytes.

#include <algorithm>
#include <stdexcept>

#include "kml/codec.h"
#include "kml/wire.h"

namespace izo::kml {
namespace {

using Buffer = std::vector<std::byte>;

izo_fid wire(const Fid& fid) {
  return {.ino = little(fid.ino),
          .generation = little(fid.generation),
          .replica = little(fid.replica),
          .zero = 0};
}

std::uint64_t wire(std::int64_t seconds) {
  return little(static_cast<std::uint64_t>(seconds));
}

izo_kml_attr wire(const Attr& attr) {
  return {.valid = little(attr.valid),
          .mode = little(attr.mode),
          .uid = little(attr.uid),
          .gid = little(attr.gid),
          .fsflags = little(attr.fsflags),
          .projid = little(attr.projid),
          .mtime_nsec = little(attr.mtime.nanoseconds),
          .ctime_nsec = little(attr.ctime.nanoseconds),
          .atime_nsec = little(attr.atime.nanoseconds),
          .zero = 0,
          .rdev = little(attr.rdev),
          .size = little(attr.size),
          .mtime = wire(attr.mtime.seconds),
          .ctime = wire(attr.ctime.seconds),
          .atime = wire(attr.atime.seconds)};
}

void append_text(Buffer& out, std::string_view text) {
  const Bytes bytes = std::as_bytes(std::span(text));
  out.insert(out.end(), bytes.begin(), bytes.end());
}

void append_item(Buffer& out, std::uint16_t type, const Buffer& contents) {
  append(out, izo_kml_item{.type = little(type),
                           .zero = 0,
                           .len = little(static_cast<std::uint32_t>(contents.size()))});
  out.insert(out.end(), contents.begin(), contents.end());
  out.resize((out.size() + 7) & ~std::size_t{7});
}

template <typename T>
void append_item(Buffer& out, std::uint16_t type, const T& contents) {
  Buffer bytes;
  append(bytes, contents);
  append_item(out, type, bytes);
}

void append_place(Buffer& out, std::uint16_t type, const std::optional<Place>& place) {
  if (!place) {
    return;
  }
  // The structure ends in an array without a length, so it is put together from its fields.
  Buffer contents;
  append(contents, wire(place->dir));
  append(contents, wire(place->mtime.seconds));
  append(contents, little(place->mtime.nanoseconds));
  append(contents, std::uint32_t{0});
  append_text(contents, place->name);
  append_item(out, type, contents);
}

void append_xattr(Buffer& out, const Xattr& xattr) {
  Buffer contents;
  append(contents, little(static_cast<std::uint32_t>(xattr.name.size())));
  append(contents, little(static_cast<std::uint32_t>(xattr.value.size())));
  append_text(contents, xattr.name);
  append_text(contents, xattr.value);
  append_item(out, IZO_ITEM_XATTR, contents);
}

/// All items of a record but the padding, in the order in which the kernel writes them.
Buffer items_of(const Record& record) {
  Buffer out;
  append_place(out, IZO_ITEM_PLACE, record.place);
  append_place(out, IZO_ITEM_TO, record.to);
  append_place(out, IZO_ITEM_HINT, record.hint);
  if (record.attr) {
    append_item(out, IZO_ITEM_ATTR, wire(*record.attr));
  }
  if (record.replaced) {
    const Other& other = *record.replaced;
    append_item(out, IZO_ITEM_REPLACED,
                izo_kml_other{.fid = wire(other.fid),
                              .nlink = little(other.nlink),
                              .mtime_nsec = little(other.mtime.nanoseconds),
                              .mtime = wire(other.mtime.seconds)});
  }
  if (record.whiteout) {
    append_item(
        out, IZO_ITEM_WHITEOUT,
        izo_kml_whiteout{.fid = wire(record.whiteout->fid), .attr = wire(record.whiteout->attr)});
  }
  if (record.target) {
    Buffer contents;
    append_text(contents, *record.target);
    append_item(out, IZO_ITEM_TARGET, contents);
  }
  for (const Xattr& xattr : record.xattrs) {
    append_xattr(out, xattr);
  }
  if (!record.groups.empty()) {
    Buffer contents;
    for (const std::uint32_t group : record.groups) {
      append(contents, little(group));
    }
    append_item(out, IZO_ITEM_GROUPS, contents);
  }
  if (!record.ranges.empty()) {
    Buffer contents;
    for (const Range& range : record.ranges) {
      append(contents, izo_kml_range{.start = little(range.start), .end = little(range.end)});
    }
    append_item(out, IZO_ITEM_RANGES, contents);
  }
  return out;
}

void append_tail(Buffer& out, std::size_t length) {
  append(out, izo_kml_tail{.len = little(static_cast<std::uint32_t>(length)),
                           .magic = little(std::uint32_t{IZO_KML_TAIL_MAGIC})});
}

/// Puts the checksum of the first `covered` bytes into the head.
void seal(Buffer& out, std::size_t covered) {
  constexpr std::size_t kField = offsetof(izo_kml_head, crc);
  const std::uint32_t crc = little(crc32c_without(Bytes(out).first(covered), kField));
  std::memcpy(&out[kField], &crc, sizeof(crc));
}

}  // namespace

std::vector<std::byte> encode(const Record& record) {
  const Buffer items = items_of(record);
  const std::size_t least = sizeof(izo_kml_head) + items.size() + sizeof(izo_kml_tail);
  const std::size_t length = record.length == 0 ? least : record.length;
  const std::size_t pad = length - least;
  if (length < least || (pad != 0 && (pad % 8 != 0 || pad > kPadMost)) ||
      length > IZO_KML_RECORD_MAX) {
    throw std::length_error("a record of " + std::to_string(least) + " bytes cannot take " +
                            std::to_string(length));
  }
  Buffer out;
  out.reserve(length);
  append(out, izo_kml_head{.magic = little(std::uint32_t{IZO_KML_MAGIC}),
                           .len = little(static_cast<std::uint32_t>(length)),
                           .crc = 0,
                           .op = little(static_cast<std::uint16_t>(record.op)),
                           .origin = little(record.origin),
                           .offset = little(record.offset),
                           .epoch = little(record.epoch),
                           .recno = little(record.recno),
                           .origin_recno = little(record.origin_recno),
                           .seen = little(record.seen),
                           .time = little(record.time),
                           .uid = little(record.uid),
                           .gid = little(record.gid),
                           .aspects = little(record.aspects),
                           .nlink = little(record.nlink),
                           .flags = little(record.flags),
                           .zero = 0,
                           .object = wire(record.object)});
  out.insert(out.end(), items.begin(), items.end());
  if (pad != 0) {
    append_item(out, IZO_ITEM_PAD, Buffer(pad - sizeof(izo_kml_item)));
  }
  append_tail(out, length);
  seal(out, out.size());
  return out;
}

std::vector<std::byte> encode(const Filler& filler) {
  if (filler.length % 8 != 0 || filler.length < IZO_KML_FILLER_MIN ||
      filler.length > IZO_KML_RECORD_MAX) {
    throw std::length_error("no filler has " + std::to_string(filler.length) + " bytes");
  }
  Buffer out;
  append(out, izo_kml_head{.magic = little(std::uint32_t{IZO_KML_MAGIC}),
                           .len = little(filler.length),
                           .crc = 0,
                           .op = little(std::uint16_t{IZO_KML_FILLER}),
                           .origin = 0,
                           .offset = little(filler.offset),
                           .epoch = little(filler.epoch),
                           .recno = 0,
                           .origin_recno = 0,
                           .seen = 0,
                           .time = 0,
                           .uid = 0,
                           .gid = 0,
                           .aspects = 0,
                           .nlink = 0,
                           .flags = 0,
                           .zero = 0,
                           .object = {}});
  out.resize(filler.length - sizeof(izo_kml_tail));
  append_tail(out, filler.length);
  seal(out, IZO_KML_FILLER_HEAD);
  return out;
}

std::vector<std::byte> encode(const Header& header) {
  izo_kml_header h{};
  h.magic = little(std::uint64_t{IZO_KML_HEADER_MAGIC});
  h.version = little(std::uint32_t{IZO_KML_VERSION});
  h.len = little(std::uint32_t{sizeof(h)});
  h.self = little(header.self);
  h.block_size = little(header.block_size);
  h.flags = little(header.flags);
  std::copy_n(header.fileset.begin(), std::min(header.fileset.size(), sizeof(h.fileset)),
              h.fileset);
  std::copy_n(header.replica.begin(), std::min(header.replica.size(), sizeof(h.replica)),
              h.replica);
  h.epoch = little(header.epoch);
  h.first = little(header.first);
  h.first_recno = little(header.first_recno);
  Buffer out;
  append(out, h);
  const std::uint32_t crc = little(crc32c_without(out, offsetof(izo_kml_header, crc)));
  std::memcpy(&out[offsetof(izo_kml_header, crc)], &crc, sizeof(crc));
  return out;
}

}  // namespace izo::kml
