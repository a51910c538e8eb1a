// SPDX-License-Identifier: GPL-2.0
#include "repl/sml.h"

#include <gtest/gtest.h>
#include <linux/fs.h>
#include <sys/stat.h>

#include "kml/codec.h"

namespace izo::repl {
namespace {

using kml::Op;

constexpr Fid kFid{.replica = 2, .ino = 77, .generation = 5};
constexpr Received kAt{.epoch = 9, .recno = 100, .offset = 4096};
constexpr std::uint32_t kOwnerAndTimes =
    IZO_ATTR_MODE | IZO_ATTR_UID | IZO_ATTR_GID | IZO_ATTR_MTIME | IZO_ATTR_CTIME | IZO_ATTR_ATIME;

Portrait portrait(std::uint32_t mode) {
  Portrait out{.attr = {}, .target = {}, .xattrs = {}};
  out.attr.valid = kOwnerAndTimes | IZO_ATTR_FSFLAGS | IZO_ATTR_PROJID;
  out.attr.mode = mode;
  out.attr.uid = 1;
  out.attr.gid = 2;
  out.attr.mtime = {.seconds = 3, .nanoseconds = 4};
  out.attr.ctime = {.seconds = 5, .nanoseconds = 6};
  out.attr.atime = {.seconds = 7, .nanoseconds = 8};
  out.attr.projid = 9;
  if (S_ISREG(mode)) {
    out.attr.valid |= IZO_ATTR_SIZE;
  } else if (S_ISLNK(mode)) {
    out.target = "there";
  } else if (S_ISBLK(mode)) {
    out.attr.valid |= IZO_ATTR_RDEV;
    out.attr.rdev = 0x0000000500000006;
  }
  return out;
}

/// As a client gets them: every one must be a record.
std::vector<Record> made_of(const Portrait& portrait, const Fid& fid = kFid) {
  std::vector<Record> out;
  for (const Record& record : sml_of(fid, {.dir = kml::kRootFid, .name = "n"}, portrait, kAt, 1)) {
    const kml::Decoded decoded = kml::decode(kml::encode(record));
    const auto* corrupt = std::get_if<kml::Corrupt>(&decoded);
    EXPECT_EQ(corrupt != nullptr ? corrupt->what : "", "");
    out.push_back(std::get<Record>(decoded));
    EXPECT_EQ(out.back().object, fid);
    EXPECT_EQ(out.back().epoch, kAt.epoch);
    EXPECT_EQ(out.back().origin, 1);
  }
  return out;
}

std::vector<Op> operations(const std::vector<Record>& records) {
  std::vector<Op> out;
  out.reserve(records.size());
  for (const Record& record : records) {
    out.push_back(record.op);
  }
  return out;
}

TEST(Sml, EachTypeIsBornAsWhatItIs) {
  const std::pair<std::uint32_t, Op> types[] = {
      {S_IFREG | 0640, Op::kCreate}, {S_IFDIR | 01777, Op::kMkdir}, {S_IFLNK | 0777, Op::kSymlink},
      {S_IFIFO | 0600, Op::kMknod},  {S_IFBLK | 0660, Op::kMknod},  {S_IFSOCK | 0700, Op::kMknod}};
  for (const auto& [mode, op] : types) {
    const std::vector<Record> records = made_of(portrait(mode));
    ASSERT_EQ(records.size(), 1U) << mode;
    const Record& birth = records.front();
    EXPECT_EQ(birth.op, op);
    EXPECT_EQ(birth.attr->mode, mode);
    EXPECT_EQ(birth.attr->uid, 1U);
    EXPECT_EQ(birth.attr->gid, 2U);
    EXPECT_EQ(birth.attr->mtime, (kml::Time{.seconds = 3, .nanoseconds = 4}));
    EXPECT_EQ(birth.attr->projid, 9U);
    EXPECT_EQ(birth.place->name, "n");
    // A copy does not touch its directories.
    EXPECT_EQ(birth.place->mtime, kml::Time());
    EXPECT_EQ(birth.attr->rdev, S_ISBLK(mode) ? 0x0000000500000006U : 0U);
    EXPECT_EQ(birth.target, S_ISLNK(mode) ? std::optional<std::string>("there") : std::nullopt);
  }
}

TEST(Sml, AFileWithSomethingInItHasACloseBehindAllElse) {
  Portrait file = portrait(S_IFREG | 0644);
  file.attr.size = 12;
  const std::vector<Record> records = made_of(file);
  ASSERT_EQ(operations(records), (std::vector{Op::kCreate, Op::kClose}));
  EXPECT_EQ(records[1].attr->size, 12U);
  EXPECT_EQ(records[1].attr->mtime, file.attr.mtime);
  EXPECT_EQ(records[1].aspects, std::uint32_t{IZO_ASPECT_BODY | IZO_ASPECT_TIMES});
}

TEST(Sml, FewAttributesAreBornWithItAndMoreFollow) {
  Portrait file = portrait(S_IFREG | 0644);
  file.xattrs = {{.name = "user.a", .value = std::string(500, 'a')},
                 {.name = "user.b", .value = std::string(600, 'b')},
                 {.name = "system.posix_acl_access", .value = "acl"}};
  file.attr.size = 1;
  const std::vector<Record> records = made_of(file);
  ASSERT_EQ(operations(records),
            (std::vector{Op::kCreate, Op::kClose, Op::kSetxattr, Op::kSetxattr}));
  ASSERT_EQ(records[0].xattrs.size(), 1U);
  EXPECT_EQ(records[0].xattrs[0], file.xattrs[0]);
  EXPECT_EQ(records[2].xattrs[0], file.xattrs[1]);
  EXPECT_EQ(records[2].aspects, std::uint32_t{IZO_ASPECT_XATTR});
  EXPECT_EQ(records[3].xattrs[0], file.xattrs[2]);
  EXPECT_EQ(records[3].aspects, std::uint32_t{IZO_ASPECT_ATTR});
}

TEST(Sml, ThatThereAreMoreAttributesIsSaidWhereItIsBorn) {
  for (const std::uint32_t mode :
       {std::uint32_t{S_IFREG} | 0600U, std::uint32_t{S_IFDIR} | 0700U,
        std::uint32_t{S_IFLNK} | 0777U, std::uint32_t{S_IFIFO} | 0600U}) {
    Portrait one = portrait(mode);
    EXPECT_EQ(made_of(one).front().flags, 0U);
    one.xattrs_cut = true;
    EXPECT_EQ(made_of(one).front().flags, std::uint32_t{IZO_KML_XATTRS_CUT});
  }
  Portrait root = portrait(S_IFDIR | 0755);
  root.xattrs_cut = true;
  EXPECT_EQ(made_of(root, kml::kRootFid).front().flags, 0U);
}

TEST(Sml, WhatKeepsItFromBeingChangedComesLast) {
  for (const std::uint32_t flag : {std::uint32_t{FS_IMMUTABLE_FL}, std::uint32_t{FS_APPEND_FL}}) {
    Portrait file = portrait(S_IFREG | 0644);
    file.attr.size = 1;
    file.attr.fsflags = flag | FS_NODUMP_FL;
    const std::vector<Record> records = made_of(file);
    ASSERT_EQ(operations(records), (std::vector{Op::kCreate, Op::kClose, Op::kSetattr}));
    EXPECT_EQ(records[0].attr->fsflags, std::uint32_t{FS_NODUMP_FL});
    EXPECT_EQ(records[2].attr->fsflags, flag | FS_NODUMP_FL);
    EXPECT_FALSE(seals(records[0]));
    EXPECT_FALSE(seals(records[1]));
    EXPECT_TRUE(seals(records[2]));
  }
}

TEST(Sml, TheRootIsNotMade) {
  Portrait root = portrait(S_IFDIR | 0755);
  root.xattrs = {{.name = "user.a", .value = "1"}};
  const std::vector<Record> records = made_of(root, kml::kRootFid);
  ASSERT_EQ(operations(records), (std::vector{Op::kSetattr, Op::kSetxattr}));
  EXPECT_EQ(records[0].attr->mode, std::uint32_t{S_IFDIR | 0755});
  EXPECT_EQ(records[0].attr->mtime, root.attr.mtime);
}

}  // namespace
}  // namespace izo::repl
