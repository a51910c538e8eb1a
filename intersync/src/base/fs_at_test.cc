// SPDX-License-Identifier: GPL-2.0
#include "base/fs_at.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <fstream>
#include <set>

#include "base/error.h"
#include "base/temporary_folder.h"

namespace izo {
namespace {

namespace fs = std::filesystem;

class FsAt : public testing::Test {
 protected:
  [[nodiscard]] std::set<std::string> names() const {
    std::set<std::string> found;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder_.path())) {
      found.insert(entry.path().filename());
    }
    return found;
  }

  TemporaryFolder folder_;
  UniqueFd directory_ = open_directory(folder_.path());
};

TEST_F(FsAt, WritesAndReadsBack) {
  write_file(directory_.get(), "sysid", as_bytes("first"), 0600);
  EXPECT_EQ(read_file(directory_.get(), "sysid", 100), "first");
  write_file(directory_.get(), "sysid", as_bytes(std::string(100000, 'x')), 0600);
  EXPECT_EQ(read_file(directory_.get(), "sysid", 100000), std::string(100000, 'x'));
  write_file(directory_.get(), "sysid", {}, 0600);
  EXPECT_EQ(read_file(directory_.get(), "sysid", 0), "");
  EXPECT_EQ(names(), std::set<std::string>{"sysid"});
  struct stat status{};
  ASSERT_EQ(::stat(folder_.file("sysid").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600U);
}

TEST_F(FsAt, WhatIsNotThereIsNotAnError) {
  EXPECT_EQ(read_file(directory_.get(), "nothing", 100), std::nullopt);
}

TEST_F(FsAt, AFileThatIsTooLongIsRefused) {
  write_file(directory_.get(), "state", as_bytes("12345"), 0600);
  EXPECT_EQ(read_file(directory_.get(), "state", 5), "12345");
  EXPECT_THROW(read_file(directory_.get(), "state", 4), Error);
}

TEST_F(FsAt, OnlyRegularFilesAreRead) {
  ASSERT_EQ(::mkfifo(folder_.file("fifo").c_str(), 0600), 0);
  fs::create_symlink("/etc/passwd", folder_.file("link"));
  fs::create_directory(folder_.file("folder"));
  EXPECT_THROW(read_file(directory_.get(), "fifo", 100), Error);
  EXPECT_THROW(read_file(directory_.get(), "link", 100000), SysError);
  EXPECT_THROW(read_file(directory_.get(), "folder", 100), Error);
  EXPECT_THROW(make_directory(directory_.get(), "link", 0700), SysError);
}

TEST_F(FsAt, AWriteThatFailsLeavesTheOldFile) {
  write_file(directory_.get(), "state", as_bytes("old"), 0600);
  ::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit small{4096, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  EXPECT_THROW(write_file(directory_.get(), "state", as_bytes(std::string(8192, 'n')), 0600),
               SysError);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  EXPECT_EQ(read_file(directory_.get(), "state", 100), "old");
  EXPECT_EQ(names(), std::set<std::string>{"state"});
}

TEST_F(FsAt, ASymlinkIsReplacedNotFollowed) {
  std::ofstream(folder_.file("target")) << "kept";
  fs::create_symlink("target", folder_.file("state"));
  write_file(directory_.get(), "state", as_bytes("new"), 0600);
  EXPECT_EQ(read_file(directory_.get(), "target", 100), "kept");
  EXPECT_EQ(read_file(directory_.get(), "state", 100), "new");
}

TEST_F(FsAt, OnlyLeftoversAreRemoved) {
  const std::set<std::string> kept = {".new-0123456789abcdef", "a.new-0123456789abcdef",
                                      ".a.new-0123456789abcdeg", ".a.new-0123", "state"};
  for (const std::string& name : kept) {
    std::ofstream(folder_.file(name)) << "x";
  }
  std::ofstream(folder_.file(".state.new-0123456789abcdef")) << "x";
  std::ofstream(folder_.file(".a.new-0000000000000000")) << "x";
  remove_leftovers(directory_.get());
  EXPECT_EQ(names(), kept);
}

TEST_F(FsAt, ADirectoryIsMadeOnce) {
  const UniqueFd made = make_directory(directory_.get(), "0", 0700);
  write_file(made.get(), "inside", as_bytes("x"), 0600);
  const UniqueFd again = make_directory(directory_.get(), "0", 0700);
  EXPECT_EQ(read_file(again.get(), "inside", 10), "x");
}

}  // namespace
}  // namespace izo
