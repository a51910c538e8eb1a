// SPDX-License-Identifier: GPL-2.0
#include "tools/conflict_copies.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <vector>

#include "base/temporary_folder.h"
#include "repl/adapt.h"

namespace izo::tools {
namespace {

TEST(ConflictCopies, TheNameIsThatOfTheEngine) {
  const kml::Fid fid{.replica = 2, .ino = 12, .generation = 7};
  EXPECT_EQ(original_name(repl::conflict_name("a.txt", fid, 5)), "a.txt");
  const std::string longest(255, 'n');
  EXPECT_EQ(original_name(repl::conflict_name(longest, fid, 5)), std::string(237, 'n'));
}

TEST(ConflictCopies, OtherNamesAreNone) {
  for (const char* name :
       {"", "a", ".conflict-12345678", "a.conflict-1234567", "a.conflict-123456789",
        "a.conflict-1234567G", "a.conflict-1234567A", "a.conflict-12345678.b"}) {
    EXPECT_EQ(original_name(name), std::nullopt) << name;
  }
}

TEST(ConflictCopies, AllOfATreeAreFound) {
  const TemporaryFolder folder;
  std::filesystem::create_directories(folder.file("d.conflict-00000001/below"));
  std::ofstream(folder.file("d.conflict-00000001/below/f.conflict-0000000a")) << "12345";
  std::filesystem::create_symlink("nowhere", folder.file("l.conflict-0000000b"));
  std::ofstream(folder.file("plain")) << "x";
  std::vector<ConflictCopy> found;
  find_conflict_copies(folder.path(), [&](const ConflictCopy& copy) { found.push_back(copy); });
  std::sort(found.begin(), found.end(),
            [](const ConflictCopy& one, const ConflictCopy& two) { return one.path < two.path; });
  ASSERT_EQ(found.size(), 3U);
  EXPECT_EQ(found[0].path, "d.conflict-00000001");
  EXPECT_EQ(found[0].type, 'd');
  EXPECT_EQ(found[1].path, "d.conflict-00000001/below/f.conflict-0000000a");
  EXPECT_EQ(found[1].name, "f");
  EXPECT_EQ(found[1].size, 5U);
  EXPECT_EQ(found[2].type, 'l');
}

TEST(ConflictCopies, AFolderThatIsNotThereIsAnError) {
  EXPECT_ANY_THROW(find_conflict_copies("/nowhere/at/all", [](const ConflictCopy&) {}));
}

}  // namespace
}  // namespace izo::tools
