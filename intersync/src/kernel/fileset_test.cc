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

TEST(Fileset, SaysWhyItsLogIsNotOpen) {
  Fileset home{.mount_point = "/srv/home", .name = "home", .read_only = true};
  EXPECT_EQ(home.why_no_log(true),
            "/srv/home: the log of its fileset home is not open, as it is mounted read-only: "
            "remount it read-write with fileset=home and mtp=; if that is refused, the kernel's "
            "log says why");
  EXPECT_EQ(home.why_no_log(false),
            "/srv/home: only root (CAP_SYS_ADMIN) may read the log of a fileset");
  home.read_only = false;
  EXPECT_EQ(home.why_no_log(true),
            "/srv/home: the log of its fileset home is not open, though it is mounted read-write: "
            "it had no room or met an error, see the kernel's log; then unmount it and mount it "
            "again");
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
