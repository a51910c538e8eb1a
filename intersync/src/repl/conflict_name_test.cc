// SPDX-License-Identifier: GPL-2.0
#include "repl/conflict_name.h"

#include <gtest/gtest.h>

namespace izo::repl {
namespace {

constexpr kml::Fid kA{.replica = 1, .ino = 11, .generation = 1};
constexpr kml::Fid kB{.replica = 1, .ino = 12, .generation = 1};

/// What is no such name, however much it looks like one: it is the user's own, all of it.
constexpr const char* kOwn[] = {"a",
                                ".conflict-12345678",
                                "a.conflict-1234567",
                                "a.conflict-123456789",
                                "a.conflict-1234567G",
                                "a.conflict-1234567A",
                                "a.conflict-12345678.b",
                                "report.conflict-notes.txt"};

TEST(ConflictName, IsThatOfAnObjectAndANumber) {
  const std::string one = conflict_name("report.txt", kA, 0);
  EXPECT_EQ(one.substr(0, 20), "report.txt.conflict-");
  EXPECT_EQ(one.size(), 28U);
  EXPECT_NE(one, conflict_name("report.txt", kA, 1));
  EXPECT_NE(one, conflict_name("report.txt", kB, 0));
}

TEST(ConflictName, IsNotLongerEachTimeAndNeverTooLong) {
  for (const std::size_t size : {std::size_t{1}, std::size_t{230}, std::size_t{237}}) {
    const std::string name(size, 'x');
    const std::string one = conflict_name(name, kA, 0);
    EXPECT_EQ(one.size(), size + 18);
    EXPECT_EQ(original_name(one), name);
    EXPECT_EQ(conflict_name(one, kA, 0), one);
  }
  const std::string longest = conflict_name(std::string(255, 'x'), kA, 0);
  EXPECT_EQ(longest.size(), 255U);
  EXPECT_EQ(original_name(longest), std::string(237, 'x'));
}

TEST(ConflictName, TakesNothingOfAnotherName) {
  EXPECT_EQ(original_name(""), std::nullopt);
  const std::string tail = conflict_name("a", kA, 0).substr(1);
  for (const std::string name : kOwn) {
    EXPECT_EQ(original_name(name), std::nullopt) << name;
    EXPECT_EQ(conflict_name(name, kA, 0), name + tail);
    EXPECT_EQ(original_name(name + tail), name);
  }
}

}  // namespace
}  // namespace izo::repl
