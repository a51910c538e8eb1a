// SPDX-License-Identifier: GPL-2.0
#include "tools/mount_table.h"

#include <gtest/gtest.h>

namespace izo::tools {
namespace {

TEST(MountTable, RootThatKnowsItsWords) {
  const auto mounts = mounts_in(
      "21 1 254:0 / / rw,relatime shared:1 - intermezzo /dev/vda "
      "rw,fileset=rootset,mtp=/,prestodev=/dev/intermezzo3,cache_type=ext4,noauto_da_alloc\n"
      "22 21 0:20 / /proc rw - proc proc rw\n");
  ASSERT_EQ(mounts.size(), 1U);
  EXPECT_EQ(mounts[0], (Mount{.mount_point = "/",
                              .device_number = "254:0",
                              .type = "intermezzo",
                              .source = "/dev/vda",
                              .read_only = false,
                              .fileset = "rootset",
                              .mtp = "/",
                              .cache_type = "ext4",
                              .channel = 3}));
}

TEST(MountTable, RootBeforeItsRemount) {
  const auto mounts = mounts_in(
      "21 1 254:0 / / ro - InterMezzo /dev/vda ro,prestodev=/dev/intermezzo0,cache_type=ext4\n");
  ASSERT_EQ(mounts.size(), 1U);
  EXPECT_EQ(mounts[0].type, "intermezzo");
  EXPECT_TRUE(mounts[0].read_only);
  EXPECT_FALSE(mounts[0].fileset);
  EXPECT_FALSE(mounts[0].mtp);
  EXPECT_EQ(mounts[0].channel, 0U);
}

TEST(MountTable, ReadOnlyMountOfAReadWriteFileSystem) {
  EXPECT_FALSE(mounts_in("21 1 254:0 / /mnt ro - intermezzo /dev/vda rw\n").at(0).read_only);
}

TEST(MountTable, OneLineForEachFileSystem) {
  const auto mounts = mounts_in(
      "30 1 0:40 / /a rw - vintermezzo none rw,fileset=one\n"
      "31 1 0:41 /d /b rw - vintermezzo none rw,fileset=two\n"
      "32 1 0:40 / /c rw - vintermezzo none rw,fileset=one\n"
      "33 1 0:41 / /d rw - vintermezzo none rw,fileset=two\n"
      "34 1 0:42 /d /e rw - vintermezzo none rw,fileset=three\n");
  ASSERT_EQ(mounts.size(), 2U);
  EXPECT_EQ(mounts[0].mount_point, "/a");
  EXPECT_EQ(mounts[1].mount_point, "/d");
}

TEST(MountTable, OctalEscapesAreUndone) {
  const auto mounts = mounts_in(
      R"(30 1 0:40 / /a\040b\134c rw - intermezzo /dev/x\011y rw,mtp=/d\040e,fileset=z\054w)"
      "\n");
  ASSERT_EQ(mounts.size(), 1U);
  EXPECT_EQ(mounts[0].mount_point, "/a b\\c");
  EXPECT_EQ(mounts[0].source, "/dev/x\ty");
  EXPECT_EQ(mounts[0].mtp, "/d e");
  EXPECT_EQ(mounts[0].fileset, "z,w");
}

TEST(MountTable, WhatIsNoMountIsSkipped) {
  for (const char* text : {"", "\n", "x", "1 2 3 / /a rw - intermezzo", " - intermezzo a rw",
                           "30 1 0:40 / /a rw - ext4 /dev/vda rw,fileset=x\n"}) {
    EXPECT_TRUE(mounts_in(text).empty()) << text;
  }
  EXPECT_FALSE(mounts_in("30 1 0:4 / /a rw - intermezzo d rw,prestodev=/dev/intermezzoX,mtp\n")
                   .at(0)
                   .channel);
}

}  // namespace
}  // namespace izo::tools
