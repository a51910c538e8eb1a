// SPDX-License-Identifier: GPL-2.0
#include "repl/adapt.h"

#include <gtest/gtest.h>

#include "repl/conflict_name.h"
#include "repl/test_records.h"

namespace izo::repl {
namespace {

constexpr Fid kA{.replica = 1, .ino = 11, .generation = 1};
constexpr Fid kB{.replica = 1, .ino = 12, .generation = 1};
constexpr Fid kNew{.replica = 2, .ino = 20, .generation = 1};
constexpr Fid kDir{.replica = 1, .ino = 13, .generation = 1};
constexpr Fid kGone{.replica = 1, .ino = 14, .generation = 1};

/// The root with the files a and b, and dir.
Index sample() {
  Index index;
  index.apply(make(kml::Op::kCreate, kA, in_root("a")), std::nullopt);
  index.apply(make(kml::Op::kCreate, kB, in_root("b")), std::nullopt);
  index.apply(make(kml::Op::kMkdir, kDir, in_root("dir")), std::nullopt);
  return index;
}

std::string in_short(const Adapted& adapted) {
  if (const auto* passed = std::get_if<Passed>(&adapted)) {
    return "passed " + std::to_string(static_cast<unsigned>(*passed));
  }
  if (const auto* record = std::get_if<Record>(&adapted)) {
    std::string out(name_of(record->op));
    for (const std::optional<kml::Place>* place : {&record->place, &record->to}) {
      if (*place) {
        out += " " + to_string((*place)->dir) + "/" + (*place)->name;
      }
    }
    return out + (record->replaced ? " replaces" : "");
  }
  const Repair& repair = std::get<Repair>(adapted);
  if (const auto* move = std::get_if<MoveAway>(&repair)) {
    return "move " + move->from.name + " to " + move->to.name;
  }
  return "drop " + std::get<DropName>(repair).name.name;
}

std::string adapted(const Record& record, Yields yields, const Index& index = sample(),
                    const Moves& moves = {}) {
  return in_short(adapt(record, index, moves, yields));
}

const std::string kAlready = "passed 259";
const std::string kGoneHere = "passed 258";

TEST(Adapt, WhatFitsStaysAsItIs) {
  for (const Yields side : {Yields::kNewcomer, Yields::kOccupant}) {
    EXPECT_EQ(adapted(make(kml::Op::kCreate, kNew, {kDir, "x"}), side), "create 1:13:00000001/x");
    EXPECT_EQ(adapted(link(kA, in_root("x")), side), "link root/x");
    EXPECT_EQ(adapted(unlink(kA, in_root("a"), 0), side), "unlink root/a");
    EXPECT_EQ(adapted(rename(kA, in_root("a"), in_root("b"), kB), side),
              "rename root/a root/b replaces");
    EXPECT_EQ(adapted(about(kml::Op::kClose, kA), side), "close");
    EXPECT_EQ(adapted(about(kml::Op::kSetattr, kml::kRootFid), side), "setattr");
  }
}

TEST(Adapt, WhatIsSoAlreadyOrIsGoneIsPassed) {
  const Yields side = Yields::kOccupant;
  EXPECT_EQ(adapted(make(kml::Op::kCreate, kA, in_root("z")), side), kAlready);
  EXPECT_EQ(adapted(link(kA, in_root("a")), side), kAlready);
  EXPECT_EQ(adapted(rename(kA, in_root("z"), in_root("a"), {}), side), kAlready);
  EXPECT_EQ(adapted(link(kGone, in_root("x")), side), kGoneHere);
  EXPECT_EQ(adapted(unlink(kGone, in_root("x"), 0), side), kGoneHere);
  EXPECT_EQ(adapted(about(kml::Op::kClose, kGone), side), kGoneHere);
}

TEST(Adapt, ForANameThatIsTakenTheServersNewcomerYieldsAndTheClientsOccupant) {
  const std::string name = conflict_name("a", kNew, 0);
  EXPECT_EQ(adapted(make(kml::Op::kCreate, kNew, in_root("a")), Yields::kNewcomer),
            "create root/" + name);
  EXPECT_EQ(adapted(make(kml::Op::kCreate, kNew, in_root("a")), Yields::kOccupant),
            "move a to " + conflict_name("a", kA, 0));
  EXPECT_EQ(adapted(rename(kB, in_root("b"), in_root("a"), {}), Yields::kNewcomer),
            "rename root/b root/" + conflict_name("a", kB, 0));
}

TEST(Adapt, WhatWasToLieInADirectoryThatIsGoneLiesInTheRoot) {
  EXPECT_EQ(adapted(make(kml::Op::kCreate, kNew, {kGone, "x"}), Yields::kNewcomer),
            "create root/" + conflict_name("x", kNew, 0));
}

TEST(Adapt, RecordsFollowAnObjectToWhereItIsNow) {
  Moves moves;
  Record moved = rename(kA, in_root("old"), in_root("a"), {});
  moved.recno = 9;
  moves.add(moved);
  EXPECT_EQ(
      adapted(rename(kA, in_root("old"), in_root("x"), {}), Yields::kOccupant, sample(), moves),
      "rename root/a root/x");
  // On the server its own rename stands.
  Record late = rename(kA, in_root("old"), in_root("x"), {});
  late.origin = 2;
  EXPECT_EQ(adapted(late, Yields::kNewcomer, sample(), moves), "passed 260");
  EXPECT_EQ(adapted(unlink(kA, in_root("old"), 0), Yields::kNewcomer), "unlink root/a");
}

TEST(Adapt, WhatIsRemovedGoesWithAllItsNames) {
  Index index = sample();
  index.apply(link(kA, in_root("second")), std::nullopt);
  EXPECT_EQ(adapted(unlink(kA, in_root("a"), 0), Yields::kOccupant, index), "drop second");
  EXPECT_EQ(adapted(rename(kB, in_root("b"), in_root("a"), kA), Yields::kOccupant, index),
            "drop second");
  EXPECT_EQ(adapted(unlink(kA, in_root("a"), 1), Yields::kOccupant, index), "unlink root/a");
  // It has other names there: the last one here stays.
  EXPECT_EQ(adapted(unlink(kA, in_root("a"), 1), Yields::kOccupant), kAlready);
}

TEST(Adapt, NoDirectoryComesToLieWithinItself) {
  Index index = sample();
  index.apply(make(kml::Op::kMkdir, kNew, {kDir, "inner"}), std::nullopt);
  const Record record = rename(kDir, in_root("dir"), {kNew, "dir"}, {});
  EXPECT_EQ(adapted(record, Yields::kNewcomer, index),
            "rename root/dir root/" + conflict_name("dir", kDir, 0));
  EXPECT_EQ(adapted(record, Yields::kOccupant, index),
            "move inner to " + conflict_name("inner", kNew, 0));
}

}  // namespace
}  // namespace izo::repl
