// SPDX-License-Identifier: GPL-2.0
#include "repl/index.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <string>

#include "repl/test_records.h"

namespace izo::repl {
namespace {

constexpr Fid kA{.replica = 1, .ino = 11, .generation = 1};
constexpr Fid kB{.replica = 1, .ino = 12, .generation = 1};
constexpr Fid kDir{.replica = 1, .ino = 13, .generation = 1};

Index sample() {
  Index index;
  index.know(1, Uuid{7});
  index.apply(make(kml::Op::kMkdir, kDir, in_root("dir")), std::nullopt);
  index.apply(make(kml::Op::kCreate, kA, in_root("a")), std::nullopt);
  index.apply(make(kml::Op::kCreate, kB, {kDir, "b"}), std::nullopt);
  return index;
}

TEST(Index, FollowsNames) {
  Index index = sample();
  index.apply(link(kA, {kDir, "second"}), std::nullopt);
  EXPECT_EQ(index.find(kA)->names, (Names{in_root("a"), {kDir, "second"}}));
  index.apply(rename(kB, {kDir, "b"}, in_root("a"), kA), std::nullopt);
  EXPECT_EQ(index.find(kA)->names, (Names{{kDir, "second"}}));
  EXPECT_EQ(index.at(in_root("a")), kB);
  index.apply(unlink(kA, {kDir, "second"}, 0), std::nullopt);
  EXPECT_EQ(index.find(kA), nullptr);
  EXPECT_EQ(index.at({kDir, "second"}), std::nullopt);
}

TEST(Index, ExchangesNames) {
  Index index = sample();
  Record record = rename(kA, in_root("a"), {kDir, "b"}, kB);
  record.flags = IZO_KML_EXCHANGE;
  index.apply(record, std::nullopt);
  EXPECT_EQ(index.at(in_root("a")), kB);
  EXPECT_EQ(index.at({kDir, "b"}), kA);
}

TEST(Index, WhatIsNotKnownTakesTheNameAllTheSame) {
  const Fid unknown{.replica = 1, .ino = 99, .generation = 1};
  Index index = sample();
  index.apply(rename(unknown, in_root("elsewhere"), in_root("a"), kA), std::nullopt);
  EXPECT_EQ(index.at(in_root("a")), std::nullopt);
  EXPECT_EQ(index.find(kA), nullptr);
  Record record = rename(unknown, in_root("a"), {kDir, "b"}, kB);
  record.flags = IZO_KML_EXCHANGE;
  index.apply(record, std::nullopt);
  EXPECT_EQ(index.at(in_root("a")), kB);
  EXPECT_EQ(index.at({kDir, "b"}), std::nullopt);
  EXPECT_EQ(index.find(unknown), nullptr);
}

TEST(Index, AnExchangeThatAWalkHasSeenStaysAsItIs) {
  Index index = sample();
  Record record = rename(kA, in_root("a"), {kDir, "b"}, kB);
  record.flags = IZO_KML_EXCHANGE;
  index.apply(record, std::nullopt);
  const Index after = index;
  index.apply(record, std::nullopt);
  EXPECT_TRUE(index == after);
}

TEST(Index, KnowsWhatLiesAbove) {
  Index index = sample();
  const Fid inner{.replica = 1, .ino = 14, .generation = 1};
  index.apply(make(kml::Op::kMkdir, inner, {kDir, "inner"}), std::nullopt);
  EXPECT_EQ(index.above(inner), (std::vector<Fid>{kDir, kml::kRootFid}));
  EXPECT_TRUE(index.above(kml::kRootFid).empty());
}

/// A chain of directories below the root, the first one with the inode number 1001.
constexpr std::uint64_t kLevels = 10'000;

Fid level(std::uint64_t number) {
  return {.replica = 1, .ino = 1000 + number, .generation = 1};
}

Index chain() {
  Index index = sample();
  index.apply(make(kml::Op::kMkdir, level(1), in_root("1")), std::nullopt);
  for (std::uint64_t i = 2; i <= kLevels; i++) {
    index.apply(make(kml::Op::kMkdir, level(i), {level(i - 1), std::to_string(i)}), std::nullopt);
  }
  return index;
}

TEST(Index, KnowsAllThatLiesAboveHoweverDeep) {
  const std::vector<Fid> above = chain().above(level(kLevels));
  ASSERT_EQ(above.size(), kLevels);
  EXPECT_EQ(above.front(), level(kLevels - 1));
  EXPECT_EQ(above.back(), kml::kRootFid);
}

TEST(Index, OfDirectoriesInACircleNoneLeadsToTheRoot) {
  Index index = sample();
  const Fid inner{.replica = 1, .ino = 14, .generation = 1};
  index.apply(make(kml::Op::kMkdir, inner, {kDir, "inner"}), std::nullopt);
  index.apply(rename(kDir, in_root("dir"), {inner, "dir"}, std::nullopt), std::nullopt);
  const std::vector<Fid> above = index.above(inner);
  EXPECT_EQ(std::find(above.begin(), above.end(), kml::kRootFid), above.end());
  EXPECT_NE(std::find(above.begin(), above.end(), inner), above.end());
  EXPECT_FALSE(index.way(kml::kRootFid, inner));
  EXPECT_FALSE(index.way(kDir, level(1)));
}

TEST(Index, KnowsTheWayFromTheRoot) {
  const Index index = chain();
  const std::optional<Index::Way> way = index.way(kml::kRootFid, level(kLevels));
  ASSERT_TRUE(way && way->from_root);
  ASSERT_EQ(way->steps.size(), kLevels);
  EXPECT_EQ(way->steps.front(), "1");
  EXPECT_EQ(way->steps.back(), std::to_string(kLevels));
  EXPECT_TRUE(index.way(level(5), kml::kRootFid)->steps.empty());
}

TEST(Index, KnowsTheWayFromADirectoryThatIsNear) {
  Index index = chain();
  const Fid beside{.replica = 1, .ino = 15, .generation = 1};
  index.apply(make(kml::Op::kMkdir, beside, {level(kLevels - 3), "beside"}), std::nullopt);
  const auto steps = [&](const Fid& from, const Fid& to) {
    const std::optional<Index::Way> way = index.way(from, to);
    return way && !way->from_root ? way->steps : std::vector<std::string>{"not so"};
  };
  using Steps = std::vector<std::string>;
  EXPECT_EQ(steps(level(kLevels), level(kLevels)), Steps());
  EXPECT_EQ(steps(level(kLevels - 2), level(kLevels)), (Steps{"9999", "10000"}));
  EXPECT_EQ(steps(level(kLevels), level(kLevels - 2)), (Steps{"..", ".."}));
  EXPECT_EQ(steps(level(kLevels), beside), (Steps{"..", "..", "..", "beside"}));
  EXPECT_EQ(steps(beside, level(kLevels)), (Steps{"..", "9998", "9999", "10000"}));
}

TEST(Index, WhatIsNearToTheRootIsLookedForFromThere) {
  const Index index = chain();
  for (const Fid& to : {level(2), kDir}) {
    const std::optional<Index::Way> way = index.way(level(kLevels), to);
    ASSERT_TRUE(way);
    EXPECT_TRUE(way->from_root);
  }
}

TEST(Index, TakesChangesBack) {
  Index index = sample();
  const Index before = index;
  const std::uint64_t digest = index.digest();
  index.begin();
  index.apply(unlink(kA, in_root("a"), 0), std::nullopt);
  const std::size_t mark = index.mark();
  index.apply(rename(kB, {kDir, "b"}, in_root("a"), std::nullopt), std::nullopt);
  index.roll_back(mark);
  EXPECT_EQ(index.at({kDir, "b"}), kB);
  EXPECT_EQ(index.find(kA), nullptr);
  index.roll_back(0);
  EXPECT_TRUE(index == before);
  EXPECT_EQ(index.digest(), digest);
}

/// Of a file with as many names as ext4 lets it have each costs as much as of one with two.
TEST(Index, ManyNamesOfOneFileTakeNoLongerThanOfMany) {
  constexpr std::uint64_t kMany = 50'000;
  const auto name = [](std::uint64_t number) {
    return Name{kDir, "a name of some length " + std::to_string(number * 7919 % kMany)};
  };
  const auto start = std::chrono::steady_clock::now();
  Index index = sample();
  for (std::uint64_t i = 0; i < kMany; i++) {
    index.add({.fid = kA, .handle = {}, .mode = S_IFREG, .name = name(i)});
  }
  EXPECT_EQ(index.find(kA)->names.size(), kMany + 1);
  const Index before = index;
  const std::uint64_t digest = index.digest();
  index.begin();
  for (std::uint64_t i = 0; i < kMany; i++) {
    index.apply(rename(kA, name(i), in_root(std::to_string(i)), std::nullopt), std::nullopt);
    index.set_handle(kA, {.ino = i, .generation = 1, .result = {}});
  }
  EXPECT_EQ(index.find(kA)->names.size(), kMany + 1);
  index.roll_back(0);
  index.end();
  EXPECT_TRUE(index == before);
  EXPECT_EQ(index.digest(), digest);
  for (std::uint64_t i = 0; i < kMany; i++) {
    index.apply(unlink(kA, name(i), 1), std::nullopt);
  }
  EXPECT_EQ(index.find(kA)->names, (Names{in_root("a")}));
  // A second on an idle machine; with copies of all names many minutes.
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
}

TEST(Index, TheDigestIsOfNamesAndMakersNotOfIndices) {
  const Index index = sample();
  Index other;
  other.know(3, Uuid{7});
  const auto moved = [](Fid fid) {
    fid.replica = 3;
    return fid;
  };
  // In another order, with other handles.
  other.apply(make(kml::Op::kCreate, moved(kA), in_root("a")),
              Handle{.ino = 99, .generation = 5, .result = {}});
  other.apply(make(kml::Op::kMkdir, moved(kDir), in_root("dir")), std::nullopt);
  EXPECT_NE(index.digest(), other.digest());
  other.apply(make(kml::Op::kCreate, moved(kB), {moved(kDir), "b"}), std::nullopt);
  EXPECT_EQ(index.digest(), other.digest());
  other.apply(rename(moved(kB), {moved(kDir), "b"}, in_root("b"), std::nullopt), std::nullopt);
  EXPECT_NE(index.digest(), other.digest());
}

TEST(Index, AReferenceHasAHintThatTheKernelCanUse) {
  const Index index = sample();
  EXPECT_TRUE(index.ref(kml::kRootFid).root);
  const Ref file = index.ref(kB);
  EXPECT_EQ(file.handle.ino, 12U);
  EXPECT_EQ(file.parent.ino, 13U);
  EXPECT_EQ(file.name, "b");
  EXPECT_TRUE(index.ref(kA).parent_is_root);
  EXPECT_EQ(index.ref(Fid{.replica = 1, .ino = 50, .generation = 1}).handle.ino, 0U);
}

}  // namespace
}  // namespace izo::repl
