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

}  // namespace
}  // namespace izo::kernel
