// SPDX-License-Identifier: GPL-2.0
#include "repl/access.h"

#include <gtest/gtest.h>

#include "repl/test_records.h"

namespace izo::repl {
namespace {

constexpr Fid kFile{.replica = 1, .ino = 11, .generation = 1};
constexpr Fid kOther{.replica = 1, .ino = 12, .generation = 1};
constexpr Fid kDir{.replica = 1, .ino = 13, .generation = 1};

Record body_of(const Fid& fid) {
  return about(kml::Op::kClose, fid);
}

Record attributes_of(const Fid& fid, std::uint32_t aspects) {
  Record record = about(kml::Op::kSetattr, fid);
  record.aspects = aspects;
  return record;
}

Record xattr_of(const Fid& fid, const std::string& name) {
  Record record = about(kml::Op::kSetxattr, fid);
  record.xattrs = {{.name = name, .value = "x"}};
  return record;
}

/// Do they conflict when neither maker had seen the other's?
bool conflict(const Record& one, const Record& two) {
  const Index index;
  History history;
  Record mine = one;
  mine.origin = 1;
  mine.recno = 5;
  history.add(mine, access_of(mine, index));
  return history.conflicts(access_of(two, index), 2, 4);
}

TEST(Access, WhatConflicts) {
  const Record made = make(kml::Op::kCreate, kFile, {kDir, "x"});
  const Record other = make(kml::Op::kCreate, kOther, {kDir, "x"});
  EXPECT_TRUE(conflict(made, other));
  EXPECT_FALSE(conflict(made, make(kml::Op::kCreate, kOther, {kDir, "y"})));
  EXPECT_TRUE(conflict(about(kml::Op::kClose, kFile), body_of(kFile)));
  EXPECT_FALSE(conflict(body_of(kFile), body_of(kOther)));
  EXPECT_TRUE(conflict(body_of(kFile), unlink(kFile, in_root("x"), 0)));
  EXPECT_FALSE(conflict(body_of(kFile), unlink(kFile, in_root("x"), 1)));
  EXPECT_TRUE(conflict(unlink(kFile, in_root("x"), 0), body_of(kFile)));
  EXPECT_TRUE(conflict(rename(kOther, in_root("a"), in_root("b"), kFile), body_of(kFile)));
  EXPECT_FALSE(conflict(rename(kFile, in_root("a"), in_root("b"), {}), body_of(kFile)));
  EXPECT_TRUE(conflict(rename(kFile, in_root("a"), in_root("b"), {}),
                       rename(kFile, in_root("a"), in_root("c"), {})));
  EXPECT_TRUE(conflict(xattr_of(kFile, "user.a"), xattr_of(kFile, "user.a")));
  EXPECT_FALSE(conflict(xattr_of(kFile, "user.a"), xattr_of(kFile, "user.b")));
  EXPECT_TRUE(
      conflict(attributes_of(kFile, IZO_ASPECT_ATTR), attributes_of(kFile, IZO_ASPECT_ATTR)));
  EXPECT_FALSE(
      conflict(attributes_of(kFile, IZO_ASPECT_TIMES), attributes_of(kFile, IZO_ASPECT_TIMES)));
}

TEST(Access, ARemovedDirectoryConflictsWithWhatIsMadeInIt) {
  Record removed = about(kml::Op::kRmdir, kDir);
  removed.place = place_of(in_root("dir"));
  EXPECT_TRUE(conflict(removed, make(kml::Op::kCreate, kFile, {kDir, "x"})));
  EXPECT_TRUE(conflict(make(kml::Op::kCreate, kFile, {kDir, "x"}), removed));
}

TEST(Access, ADirectoryThatMovesReadsWhatLiesAboveItsPlace) {
  Index index;
  index.apply(make(kml::Op::kMkdir, kDir, in_root("one")), std::nullopt);
  index.apply(make(kml::Op::kMkdir, kOther, in_root("two")), std::nullopt);
  History history;
  Record into = rename(kDir, in_root("one"), {kOther, "one"}, {});
  into.recno = 5;
  history.add(into, access_of(into, index));
  EXPECT_TRUE(
      history.conflicts(access_of(rename(kOther, in_root("two"), {kDir, "two"}, {}), index), 2, 4));
}

TEST(History, WhatWasSeenAndWhatIsOnesOwnDoNotConflict) {
  const Index index;
  const Access access = access_of(body_of(kFile), index);
  History history;
  Record record = body_of(kFile);
  record.origin = 1;
  record.recno = 5;
  history.add(record, access);
  EXPECT_FALSE(history.conflicts(access, 2, 5));
  EXPECT_FALSE(history.conflicts(access, 1, 0));
  EXPECT_TRUE(history.conflicts(access, 2, 4));
  // Behind the newest of its own there is another's.
  record.origin = 2;
  record.recno = 6;
  history.add(record, access);
  EXPECT_TRUE(history.conflicts(access, 2, 4));
  EXPECT_FALSE(history.conflicts(access, 2, 5));
  history.forget(6);
  EXPECT_EQ(history.size(), 0U);
}

TEST(History, RecordsMayComeOutOfOrder) {
  const Index index;
  const Access access = access_of(body_of(kFile), index);
  const Key key{.fid = kFile, .aspect = IZO_ASPECT_BODY, .name = {}};
  History history;
  Record applied = body_of(kFile);
  applied.origin = 2;
  applied.recno = 9;
  history.add(applied, access);
  Record own = body_of(kFile);
  own.origin = 1;
  own.recno = 8;
  history.add(own, access);
  EXPECT_EQ(history.written_at(key, 2), 8U);
  EXPECT_EQ(history.written_at(key, 1), 9U);
  EXPECT_EQ(history.written_at(key, 3), 9U);
}

}  // namespace
}  // namespace izo::repl
