// SPDX-License-Identifier: GPL-2.0
#include "base/error.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include "base/unique_fd.h"

namespace izo {
namespace {

TEST(Error, OfASystemCallSaysWhichOnWhatAndWhy) {
  const SysError error(ENOSPC, "write", "/var/intermezzo-0/sysid");
  EXPECT_STREQ(error.what(), "write /var/intermezzo-0/sysid: No space left on device");
  EXPECT_EQ(error.code(), ENOSPC);
  EXPECT_STREQ(SysError(EBADF, "poll").what(), "poll: Bad file descriptor");
}

TEST(Error, ACheckedCallThrowsItsErrno) {
  EXPECT_EQ(checked(7, "dup"), 7);
  try {
    checked(::open("/nonexistent/file", O_RDONLY | O_CLOEXEC), "open", "/nonexistent/file");
    FAIL();
  } catch (const SysError& error) {
    EXPECT_STREQ(error.what(), "open /nonexistent/file: No such file or directory");
    EXPECT_EQ(error.code(), ENOENT);
  }
}

bool is_open(int fd) {
  return ::fcntl(fd, F_GETFD) >= 0;
}

TEST(UniqueFd, ClosesWhatItOwnsOnce) {
  int number = -1;
  {
    UniqueFd first(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    number = first.get();
    UniqueFd second(std::move(first));
    EXPECT_FALSE(first);  // NOLINT(bugprone-use-after-move): empty, as promised
    EXPECT_EQ(second.get(), number);
    EXPECT_TRUE(is_open(number));
    second = UniqueFd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    EXPECT_FALSE(is_open(number));
    number = second.get();
  }
  EXPECT_FALSE(is_open(number));
}

TEST(UniqueFd, ReleaseGivesItAway) {
  UniqueFd fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const int number = fd.release();
  fd.reset();
  EXPECT_TRUE(is_open(number));
  fd.reset(number);
}

}  // namespace
}  // namespace izo
