// SPDX-License-Identifier: GPL-2.0
#include "tools/conflict_copies.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/error.h"
#include "base/temporary_folder.h"

namespace izo::tools {
namespace {

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

TEST(ConflictCopies, WhatIsNoFolderIsAnError) {
  const TemporaryFolder folder;
  std::ofstream(folder.file("plain")) << "x";
  for (const std::string& path : {std::string("/nowhere/at/all"), folder.file("plain")}) {
    EXPECT_THROW(find_conflict_copies(path, [](const ConflictCopy&) {}), SysError) << path;
  }
}

TEST(ConflictCopies, PathsBeginInTheTree) {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder.file("tree"));
  std::ofstream(folder.file("tree/f.conflict-0000000a")) << "1";
  std::filesystem::create_directory_symlink("tree", folder.file("link"));
  for (const char* name : {"tree", "tree/", "tree//", "link", "link/"}) {
    std::vector<std::string> paths;
    find_conflict_copies(folder.file(name),
                         [&](const ConflictCopy& copy) { paths.push_back(copy.path); });
    EXPECT_EQ(paths, std::vector<std::string>{"f.conflict-0000000a"}) << name;
  }
}

TEST(ConflictCopies, AreSaidAsTextAndAsJson) {
  const ConflictCopy copy{
      .path = "d/a b.conflict-0123abcd", .name = "a b", .type = 'f', .size = 4, .mtime = 1};
  EXPECT_EQ(to_text(copy), "f 1970-01-01T00:00:01Z 4 \"d/a b.conflict-0123abcd\" lost \"a b\"");
  EXPECT_EQ(to_json(copy).dump(),
            R"({"path":"d/a b.conflict-0123abcd","name":"a b","type":"f","size":4,"mtime":1})");
  const ConflictCopy bytes{.path = "\xff.conflict-00000000", .name = "\xff", .type = 'd'};
  EXPECT_EQ(to_json(bytes)["name"].dump(), R"({"hex":"ff"})");
  EXPECT_EQ(to_text(bytes), R"(d 1970-01-01T00:00:00Z 0 "\xff.conflict-00000000" lost "\xff")");
}

}  // namespace
}  // namespace izo::tools
