// SPDX-License-Identifier: GPL-2.0
#include "repl/moves.h"

#include <gtest/gtest.h>

#include "repl/test_records.h"

namespace izo::repl {
namespace {

constexpr Fid kFile{.replica = 1, .ino = 11, .generation = 1};

Record numbered(Record record, std::uint64_t recno) {
  record.recno = recno;
  return record;
}

TEST(Moves, FollowsRenamesToANameThatTheObjectHas) {
  Index index;
  index.apply(make(kml::Op::kCreate, kFile, in_root("c")), std::nullopt);
  Moves moves;
  moves.add(numbered(rename(kFile, in_root("a"), in_root("b"), {}), 5));
  moves.add(numbered(rename(kFile, in_root("b"), in_root("c"), {}), 6));
  const auto moved = moves.follow(kFile, in_root("a"), index, 0, 0);
  ASSERT_TRUE(moved);
  EXPECT_EQ(moved->to, in_root("c"));
  EXPECT_FALSE(moves.follow(kFile, in_root("x"), index, 0, 0));
  // What its maker had seen, or did itself, is no news.
  EXPECT_FALSE(moves.follow(kFile, in_root("a"), index, 0, 5));
  EXPECT_FALSE(moves.follow(kFile, in_root("a"), index, 1, 0));
  moves.forget(5);
  EXPECT_FALSE(moves.follow(kFile, in_root("a"), index, 0, 0));
}

TEST(Moves, KnowsWhatWasRemoved) {
  const Index index;
  Moves moves;
  moves.add(numbered(unlink(kFile, in_root("a"), 1), 5));
  const auto moved = moves.follow(kFile, in_root("a"), index, 0, 0);
  ASSERT_TRUE(moved);
  EXPECT_FALSE(moved->to);
  moves.add(numbered(link(kFile, in_root("a")), 6));
  EXPECT_FALSE(moves.follow(kFile, in_root("a"), index, 0, 0));
}

TEST(Moves, ClaimsEndWhenThePeerHasHeardOfThem) {
  Moves moves;
  moves.claim(numbered(link(kFile, in_root("a")), 5));
  moves.claim(numbered(rename(kFile, in_root("a"), in_root("b"), {}), 6));
  EXPECT_FALSE(moves.is_claimed(kFile, in_root("a")));
  EXPECT_TRUE(moves.is_claimed(kFile, in_root("b")));
  moves.forget(5);
  EXPECT_TRUE(moves.is_claimed(kFile, in_root("b")));
  moves.forget(6);
  EXPECT_FALSE(moves.is_claimed(kFile, in_root("b")));
}

}  // namespace
}  // namespace izo::repl
