// SPDX-License-Identifier: GPL-2.0
#include "daemon/state_folder.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/error.h"
#include "base/temporary_folder.h"

namespace izo::daemon {
namespace {

namespace fs = std::filesystem;

std::string contents(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

class StateFolder : public testing::Test {
 protected:
  void write() { write_state_folder(path_, fileset_, log_); }

  TemporaryFolder parent_;
  std::string path_ = parent_.file("intermezzo-3");
  kernel::Fileset fileset_{.mount_point = "/srv/home", .name = "home", .channel = 3};
  kernel::LogInfo log_{.fileset = kml::uuid_from("00112233-4455-6677-8899-aabbccddeeff").value(),
                       .replica = kml::uuid_from("fedcba98-7654-3210-fedc-ba9876543210").value(),
                       .epoch = 0xab};
};

TEST_F(StateFolder, SaysWhatReplicaAndWhatFilesetThisIs) {
  write();
  EXPECT_EQ(contents(path_ + "/sysid"), "fedcba98-7654-3210-fedc-ba9876543210\n");
  EXPECT_EQ(contents(path_ + "/profile"),
            "fileset=home\n"
            "uuid=00112233-4455-6677-8899-aabbccddeeff\n"
            "epoch=00000000000000ab\n");
  EXPECT_EQ(contents(path_ + "/profile"), profile_of(fileset_, log_));
  EXPECT_EQ(fs::read_symlink(path_ + "/cache"), "/srv/home");
  const mode_t mask = ::umask(0);
  ::umask(mask);
  for (const char* name : {"sysid", "profile"}) {
    struct stat status{};
    ASSERT_EQ(::stat((path_ + "/" + name).c_str(), &status), 0);
    EXPECT_EQ(status.st_mode, S_IFREG | (0644U & ~mask)) << name;
  }
}

TEST_F(StateFolder, IsMadeTrueEachTime) {
  write();
  fileset_.mount_point = "/mnt/elsewhere";
  log_.epoch++;
  log_.replica[0]++;
  // As a crash in the middle leaves it.
  const std::string half = path_ + "/.profile.new-0123456789abcdef";
  std::ofstream(half) << "half";
  write();
  EXPECT_FALSE(fs::exists(half));
  EXPECT_EQ(contents(path_ + "/sysid"), kml::to_string(log_.replica) + "\n");
  EXPECT_EQ(contents(path_ + "/profile"), profile_of(fileset_, log_));
  EXPECT_EQ(fs::read_symlink(path_ + "/cache"), "/mnt/elsewhere");
}

TEST_F(StateFolder, NothingOfOthersIsOverwritten) {
  fs::create_directories(path_ + "/cache/theirs");
  EXPECT_THROW(write(), SysError);
  EXPECT_TRUE(fs::exists(path_ + "/cache/theirs"));
  path_ = parent_.file("file");
  std::ofstream(path_) << "theirs";
  EXPECT_THROW(write(), SysError);
  EXPECT_EQ(contents(path_), "theirs");
  path_ = parent_.file("no/such/folder");
  EXPECT_THROW(write(), SysError);
}

}  // namespace
}  // namespace izo::daemon
