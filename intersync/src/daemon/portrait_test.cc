// SPDX-License-Identifier: GPL-2.0
#include "daemon/portrait.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/intermezzo_kml.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>

#include "base/error.h"
#include "base/temporary_folder.h"
#include "base/unique_fd.h"

namespace izo::daemon {
namespace {

constexpr const char* kName = "file";

/// A file, with an attribute where there can be one, in a directory that is open.
class PortraitTest : public testing::Test {
 protected:
  PortraitTest() { checked(::fchmod(file_.get(), 0640), "chmod", kName); }

  TemporaryFolder folder_;
  UniqueFd directory_{
      checked(::open(folder_.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC), "open", "")};
  UniqueFd file_{checked(::openat(directory_.get(), kName, O_RDWR | O_CREAT | O_CLOEXEC, 0600),
                         "open", kName)};
  // tmpfs has had none of these for long.
  const bool has_attribute_ = ::fsetxattr(file_.get(), "user.of", "it", 2, 0) == 0;
};

TEST_F(PortraitTest, OfANameThatIsNotThere) {
  EXPECT_THROW(hold(directory_.get(), "other"), SysError);
}

TEST_F(PortraitTest, OfASymbolicLinkIsTheLinks) {
  checked(::symlinkat(kName, directory_.get(), "link"), "symlink", "link");
  const UniqueFd held = hold(directory_.get(), "link");
  checked(::renameat(directory_.get(), "link", directory_.get(), "moved"), "rename", "link");
  const repl::Portrait is = portrait_of(held.get());
  EXPECT_EQ(is.target, kName);
  EXPECT_TRUE(S_ISLNK(is.attr.mode));
  EXPECT_EQ(std::count(is.xattrs.begin(), is.xattrs.end(), kml::Xattr{"user.of", "it"}), 0);
}

/// The lease stands, and all is there.
TEST_F(PortraitTest, OfAFileWithALease) {
  checked(::fcntl(file_.get(), F_SETLEASE, F_WRLCK), "fcntl", kName);
  repl::Portrait is = portrait_of(hold(directory_.get(), kName).get());
  EXPECT_EQ(::fcntl(file_.get(), F_GETLEASE), F_WRLCK);
  EXPECT_EQ(is.attr.mode, S_IFREG | 0640U);
  EXPECT_EQ(std::count(is.xattrs.begin(), is.xattrs.end(), kml::Xattr{"user.of", "it"}),
            has_attribute_ ? 1 : 0);
  EXPECT_FALSE(is.attr.has(IZO_ATTR_FSFLAGS));
  add_flags(std::nullopt, is.attr);
  EXPECT_FALSE(is.attr.has(IZO_ATTR_FSFLAGS));
  add_flags(kernel::Flags{.flags = 5, .project = 7}, is.attr);
  EXPECT_TRUE(is.attr.has(IZO_ATTR_FSFLAGS) && is.attr.has(IZO_ATTR_PROJID));
  EXPECT_EQ(std::pair(is.attr.fsflags, is.attr.projid), std::pair(5U, 7U));
}

}  // namespace
}  // namespace izo::daemon
