// SPDX-License-Identifier: GPL-2.0
// What a record of the log says, in host byte order. The bytes are in <linux/intermezzo_kml.h>, the
// rules in docs/kml-format.md.
#pragma once

#include <linux/intermezzo_kml.h>

#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace izo::kml {

/// The name of an object that never changes: see struct izo_fid.
struct Fid {
  std::uint16_t replica = 0;  ///< Index into the log's table of replicas; 0 of the root only.
  std::uint64_t ino = 0;
  std::uint32_t generation = 0;

  auto operator<=>(const Fid&) const = default;
};

/// The root of a fileset, on every replica.
inline constexpr Fid kRootFid{0, IZO_FID_ROOT_INO, 0};

/// "root", or "replica:inode:generation" with the generation in hexadecimal.
std::string to_string(const Fid& fid);

/// A point in time: seconds since 1970 and nanoseconds, always below 10^9.
struct Time {
  std::int64_t seconds = 0;
  std::uint32_t nanoseconds = 0;

  auto operator<=>(const Time&) const = default;
};

/// In UTC as "2026-11-24T05:49:29.000000005Z"; outside of the years 1 to 9999 as the two numbers,
/// "@SECONDS+NANOSECONDS".
std::string to_string(const Time& time);

/// May that be a name in a directory: 1 to 255 bytes, no slash, no NUL, neither "." nor ".."?
bool is_name(std::string_view name);

/// A name in a directory, and that directory's modification time after the change (a hint: 0).
struct Place {
  Fid dir;
  Time mtime;
  std::string name;

  bool operator==(const Place&) const = default;
};

/// Attributes of an inode after the change; those whose bit (IZO_ATTR_*) is not in `valid` are 0.
struct Attr {
  std::uint32_t valid = 0;
  std::uint32_t mode = 0;  ///< With the type.
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint32_t fsflags = 0;  ///< As FS_IOC_GETFLAGS gives them.
  std::uint32_t projid = 0;
  std::uint64_t rdev = 0;  ///< major << 32 | minor.
  std::uint64_t size = 0;  ///< Bytes.
  Time mtime;
  Time ctime;
  Time atime;

  [[nodiscard]] bool has(std::uint32_t field) const { return (valid & field) != 0; }
  bool operator==(const Attr&) const = default;
};

/// Another object that a rename touched, the links it has left and its modification time.
struct Other {
  Fid fid;
  std::uint32_t nlink = 0;
  Time mtime;

  bool operator==(const Other&) const = default;
};

/// The whiteout that a rename left behind.
struct Whiteout {
  Fid fid;
  Attr attr;

  bool operator==(const Whiteout&) const = default;
};

/// An extended attribute by its full name; the value is bytes.
struct Xattr {
  std::string name;
  std::string value;

  bool operator==(const Xattr&) const = default;
};

/// Bytes of a body from `start` to before `end`.
struct Range {
  std::uint64_t start = 0;
  std::uint64_t end = 0;

  bool operator==(const Range&) const = default;
};

enum class Op : std::uint16_t {
  kCreate = IZO_KML_CREATE,
  kMkdir = IZO_KML_MKDIR,
  kMknod = IZO_KML_MKNOD,
  kSymlink = IZO_KML_SYMLINK,
  kLink = IZO_KML_LINK,
  kUnlink = IZO_KML_UNLINK,
  kRmdir = IZO_KML_RMDIR,
  kRename = IZO_KML_RENAME,
  kSetattr = IZO_KML_SETATTR,
  kSetxattr = IZO_KML_SETXATTR,
  kRemovexattr = IZO_KML_REMOVEXATTR,
  kClose = IZO_KML_CLOSE,
};

/// The operation's name in lower case, as `izoctl kml` prints it.
std::string_view name_of(Op op);

/// One change. Fields are those of struct izo_kml_head; which items an operation has is said in
/// docs/kml-format.md and checked by the codec.
struct Record {
  Op op = Op::kCreate;
  /// Bytes that the record takes in its log. encode() takes 0 for "as few as possible".
  std::uint32_t length = 0;
  std::uint16_t origin = 0;
  std::uint64_t offset = 0;
  std::uint64_t epoch = 0;
  std::uint64_t recno = 0;
  std::uint64_t origin_recno = 0;
  std::uint64_t seen = 0;
  std::uint64_t time = 0;  ///< Nanoseconds since 1970; for people.
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint32_t aspects = 0;  ///< IZO_ASPECT_*.
  std::uint32_t nlink = 0;
  std::uint32_t flags = 0;  ///< IZO_KML_EXCHANGE and the others.
  Fid object;
  std::optional<Place> place;
  std::optional<Place> to;
  std::optional<Place> hint;
  std::optional<Attr> attr;
  std::optional<Other> replaced;
  std::optional<Whiteout> whiteout;
  std::optional<std::string> target;
  std::vector<Xattr> xattrs;
  std::vector<std::uint32_t> groups;
  std::vector<Range> ranges;

  bool operator==(const Record&) const = default;
};

/// When the record was logged.
Time logged_at(const Record& record);

/// Names in lower case of the bits that are set, in the order of their values: IZO_KML_EXCHANGE is
/// "exchange".
std::vector<std::string_view> names_of_flags(std::uint32_t flags);
/// Likewise of IZO_ASPECT_*.
std::vector<std::string_view> names_of_aspects(std::uint32_t aspects);

/// Room between records that means nothing.
struct Filler {
  std::uint32_t length = 0;  ///< Bytes.
  std::uint64_t offset = 0;
  std::uint64_t epoch = 0;

  bool operator==(const Filler&) const = default;
};

/// The beginning of a log as a reader gets it: see struct izo_kml_header.
struct Header {
  std::string fileset;  ///< UUID, 16 bytes.
  std::string replica;  ///< UUID, 16 bytes.
  std::uint16_t self = 0;
  std::uint32_t block_size = 0;  ///< Bytes.
  std::uint32_t flags = 0;       ///< IZO_KML_H_*.
  std::uint64_t epoch = 0;
  std::uint64_t first = 0;  ///< Offset of the oldest record.
  std::uint64_t first_recno = 0;

  bool operator==(const Header&) const = default;
};

}  // namespace izo::kml

template <>
struct std::hash<izo::kml::Fid> {
  std::size_t operator()(const izo::kml::Fid& fid) const noexcept {
    // Inode numbers are what tells objects apart; the rest rarely differs.
    return std::hash<std::uint64_t>{}(fid.ino * 0x9e3779b97f4a7c15U ^
                                      (std::uint64_t{fid.generation} << 16 | fid.replica));
  }
};
