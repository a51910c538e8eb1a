// SPDX-License-Identifier: GPL-2.0
#include "kernel/mount_table.h"

#include <gtest/gtest.h>

namespace izo::kernel {
namespace {

constexpr std::string_view kLine =
    "29 1 98:32 / /srv/my\\040home rw,noatime shared:3 master:1 - intermezzo /dev/ubdc "
    "rw,fileset=home,mtp=/srv/a\\054b\\075c,prestodev=/dev/intermezzo3,cache_type=ext4,fileset=x";

TEST(MountTable, ReadsALine) {
  const std::optional<Mount> mount = parse_mount(kLine);
  ASSERT_TRUE(mount);
  EXPECT_EQ(mount->id, 29U);
  EXPECT_EQ(mount->dev_major, 98U);
  EXPECT_EQ(mount->dev_minor, 32U);
  EXPECT_EQ(mount->root, "/");
  EXPECT_EQ(mount->point, "/srv/my home");
  EXPECT_EQ(mount->type, "intermezzo");
  EXPECT_EQ(mount->source, "/dev/ubdc");
  EXPECT_EQ(mount->option("fileset"), "home");
  EXPECT_EQ(mount->option("mtp"), "/srv/a,b=c");
  EXPECT_EQ(mount->option("prestodev"), "/dev/intermezzo3");
  EXPECT_EQ(mount->channel(), 3U);
  EXPECT_FALSE(mount->is_read_only());
  EXPECT_EQ(mount->option("file"), std::nullopt);
  EXPECT_EQ(mount->option("rw"), std::nullopt);
}

TEST(MountTable, ReadsALineWithoutOptionalFields) {
  const std::optional<Mount> mount = parse_mount("1 0 0:2 /a / ro - tmpfs none ro");
  ASSERT_TRUE(mount);
  EXPECT_EQ(mount->root, "/a");
  EXPECT_EQ(mount->type, "tmpfs");
  EXPECT_TRUE(mount->is_read_only());
  EXPECT_EQ(mount->channel(), std::nullopt);
}

TEST(MountTable, RefusesWhatIsNoLine) {
  for (const char* line :
       {"", " ", "1 0 0:2 / / ro", "1 0 0:2 / / ro - tmpfs none", "x 0 0:2 / / ro - tmpfs none rw",
        "1 0 2 / / ro - tmpfs none rw", "1 0 0: / / ro - tmpfs none rw",
        "1 0 0:2:3 / / ro - tmpfs none rw", "-1 0 0:2 / / ro - tmpfs none rw",
        "99999999999999999999 0 0:2 / / ro - tmpfs none rw"}) {
    EXPECT_FALSE(parse_mount(line)) << line;
  }
  for (std::size_t size = 0; size < kLine.find("rw,fileset"); size++) {
    EXPECT_FALSE(parse_mount(kLine.substr(0, size))) << size;
  }
}

TEST(MountTable, TakesEscapesAsTheKernelWritesThem) {
  const auto point = [](const std::string& text) {
    return parse_mount("1 0 0:2 / " + text + " ro - tmpfs none rw")->point;
  };
  EXPECT_EQ(point("/a\\134b"), "/a\\b");
  EXPECT_EQ(point("/a\\04"), "/a\\04");
  EXPECT_EQ(point("/a\\999"), "/a\\999");
  EXPECT_EQ(point("/\\303\\251"), "/\xc3\xa9");
  EXPECT_EQ(point("/a\\"), "/a\\");
}

TEST(MountTable, FindsAMountByItsNumber) {
  const std::string table =
      "2 1 0:2 / / ro - tmpfs none rw\n" + std::string(kLine) + "\nnonsense\n";
  EXPECT_EQ(find_mount(table, 29)->point, "/srv/my home");
  EXPECT_EQ(find_mount(table, 2)->point, "/");
  EXPECT_FALSE(find_mount(table, 9));
  EXPECT_EQ(parse_mounts(table).size(), 2U);
}

TEST(MountedFilesets, RootThatKnowsItsWords) {
  const auto mounts = mounted_filesets(
      "21 1 254:0 / / rw,relatime shared:1 - intermezzo /dev/vda "
      "rw,fileset=rootset,mtp=/,prestodev=/dev/intermezzo3,cache_type=ext4,noauto_da_alloc\n"
      "22 21 0:20 / /proc rw - proc proc rw\n");
  ASSERT_EQ(mounts.size(), 1U);
  EXPECT_EQ(mounts[0].point, "/");
  EXPECT_EQ(mounts[0].dev_major, 254U);
  EXPECT_EQ(mounts[0].dev_minor, 0U);
  EXPECT_EQ(mounts[0].type, "intermezzo");
  EXPECT_EQ(mounts[0].source, "/dev/vda");
  EXPECT_FALSE(mounts[0].is_read_only());
  EXPECT_EQ(mounts[0].option("fileset"), "rootset");
  EXPECT_EQ(mounts[0].option("mtp"), "/");
  EXPECT_EQ(mounts[0].option("cache_type"), "ext4");
  EXPECT_EQ(mounts[0].channel(), 3U);
}

TEST(MountedFilesets, RootBeforeItsRemount) {
  const auto mounts = mounted_filesets(
      "21 1 254:0 / / ro - InterMezzo /dev/vda ro,prestodev=/dev/intermezzo0,cache_type=ext4\n");
  ASSERT_EQ(mounts.size(), 1U);
  EXPECT_EQ(mounts[0].type, "intermezzo");
  EXPECT_TRUE(mounts[0].is_read_only());
  EXPECT_FALSE(mounts[0].option("fileset"));
  EXPECT_FALSE(mounts[0].option("mtp"));
  EXPECT_EQ(mounts[0].channel(), 0U);
}

TEST(MountedFilesets, ReadOnlyMountOfAReadWriteFileSystem) {
  EXPECT_FALSE(
      mounted_filesets("21 1 254:0 / /mnt ro - intermezzo /dev/vda rw\n").at(0).is_read_only());
}

TEST(MountedFilesets, OneLineForEachFileSystem) {
  const auto mounts = mounted_filesets(
      "30 1 0:40 / /a rw - vintermezzo none rw,fileset=one\n"
      "31 1 0:41 /d /b rw - vintermezzo none rw,fileset=two\n"
      "32 1 0:40 / /c rw - vintermezzo none rw,fileset=one\n"
      "33 1 0:41 / /d rw - vintermezzo none rw,fileset=two\n"
      "34 1 0:42 /d /e rw - vintermezzo none rw,fileset=three\n");
  ASSERT_EQ(mounts.size(), 2U);
  EXPECT_EQ(mounts[0].point, "/a");
  EXPECT_EQ(mounts[1].point, "/d");
}

TEST(MountedFilesets, OctalEscapesAreUndone) {
  const auto mounts = mounted_filesets(
      R"(30 1 0:40 / /a\040b\134c rw - intermezzo /dev/x\011y rw,mtp=/d\040e,fileset=z\054w)"
      "\n");
  ASSERT_EQ(mounts.size(), 1U);
  EXPECT_EQ(mounts[0].point, "/a b\\c");
  EXPECT_EQ(mounts[0].source, "/dev/x\ty");
  EXPECT_EQ(mounts[0].option("mtp"), "/d e");
  EXPECT_EQ(mounts[0].option("fileset"), "z,w");
}

TEST(MountedFilesets, WhatIsNoMountIsSkipped) {
  for (const char* text : {"", "\n", "x", "1 2 3 / /a rw - intermezzo", " - intermezzo a rw",
                           "30 1 0:40 / /a rw - ext4 /dev/vda rw,fileset=x\n"}) {
    EXPECT_TRUE(mounted_filesets(text).empty()) << text;
  }
  EXPECT_FALSE(
      mounted_filesets("30 1 0:4 / /a rw - intermezzo d rw,prestodev=/dev/intermezzoX,mtp\n")
          .at(0)
          .channel());
}

}  // namespace
}  // namespace izo::kernel
