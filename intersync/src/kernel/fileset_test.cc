// SPDX-License-Identifier: GPL-2.0
#include "kernel/fileset.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace izo::kernel {
namespace {

TEST(Fileset, KnowsItsFiles) {
  const Fileset root{.mount_point = "/", .name = "rootset"};
  EXPECT_EQ(root.directory(), "/.intermezzo/rootset");
  EXPECT_EQ(root.log_path(), "/.intermezzo/rootset/kml");
  const Fileset home{.mount_point = "/srv/my home", .name = "home"};
  EXPECT_EQ(home.log_path(), "/srv/my home/.intermezzo/home/kml");
}

TEST(Fileset, SaysWhatIsThereInstead) {
  for (const std::string path : {"/proc", "/proc/version"}) {
    try {
      find_fileset(path);
      FAIL();
    } catch (const Error& error) {
      EXPECT_EQ(
          error.what(),
          path + " is not an InterMezzo file system; mount one there, or name its mount point");
    }
  }
  try {
    find_fileset("/nonexistent");
    FAIL();
  } catch (const SysError& error) {
    EXPECT_EQ(error.code(), ENOENT);
  }
}

}  // namespace
}  // namespace izo::kernel
