// SPDX-License-Identifier: GPL-2.0
#include "kernel/channel.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/intermezzo.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <functional>
#include <span>

#include "base/error.h"

namespace izo::kernel {
namespace {

const std::string kPath = "/dev/intermezzo5";

/// What it throws, which is no failed system call.
std::string disagreement(const std::function<void()>& call) {
  try {
    call();
  } catch (const SysError& error) {
    return std::string("SysError ") + error.what();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Channel, AnotherKernelIsNamedWithWhatToDo) {
  EXPECT_EQ(disagreement([] { fail_to_agree(EPROTONOSUPPORT, 7, kPath); }),
            "/dev/intermezzo5: the kernel speaks version 7 of the device protocol, this program "
            "version 1; install the two of one release");
  // Whatever the number says then.
  EXPECT_EQ(disagreement([] { fail_to_agree(ENOTTY, 1, kPath); }),
            "/dev/intermezzo5: the kernel speaks version none of the device protocol, this program "
            "version 1; install the two of one release");
  EXPECT_EQ(disagreement([] { fail_to_agree(EIO, 1, kPath); }),
            "SysError ioctl IZO_IOC_VERSION /dev/intermezzo5: Input/output error");
}

TEST(Channel, ADeviceThatKnowsNoVersionsIsAnotherKernels) {
  const UniqueFd other(::open("/dev/null", O_RDWR | O_CLOEXEC));
  EXPECT_NE(disagreement([&] {
              agree_on_version(other.get(), kPath);
            }).find("the kernel speaks version none"),
            std::string::npos);
}

class OpenChannel : public testing::Test {
 protected:
  void SetUp() override {
    std::array<int, 2> ends{};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, ends.data()), 0);
    kernel_.reset(ends[0]);
    channel_.emplace(UniqueFd(ends[1]), kPath);
  }
  void say(const izo_upcall& upcall) const {
    ASSERT_EQ(::send(kernel_.get(), &upcall, sizeof(upcall), 0),
              static_cast<ssize_t>(sizeof(upcall)));
  }

  UniqueFd kernel_;
  std::optional<Channel> channel_;
};

TEST_F(OpenChannel, UpcallsAreReadOneByOneUntilNoneWaits) {
  EXPECT_FALSE(channel_->read());
  izo_upcall gone{.size = sizeof(izo_upcall),
                  .version = IZO_DEVICE_VERSION,
                  .type = IZO_UPCALL_GONE,
                  .id = 1,
                  .channel = 5,
                  .epoch = 0};
  for (const char name : {'a', 'b'}) {
    gone.name[0] = name;
    say(gone);
    gone.id++;
  }
  for (const std::string name : {"a", "b"}) {
    const std::optional<Upcall> read = channel_->read();
    ASSERT_TRUE(read);
    EXPECT_EQ(std::get<Gone>(*read).about.name, name);
  }
  EXPECT_FALSE(channel_->read());
  gone.version++;
  say(gone);
  EXPECT_NE(disagreement([this] { channel_->read(); }).find("an upcall that breaks the protocol"),
            std::string::npos);
}

TEST_F(OpenChannel, AnAnswerSaysWhichUpcallAndHowItWent) {
  EXPECT_TRUE(channel_->answer(77, ENOSPC));
  izo_answer answer{};
  ASSERT_EQ(::recv(kernel_.get(), &answer, sizeof(answer), 0),
            static_cast<ssize_t>(sizeof(answer)));
  EXPECT_EQ(answer.size, sizeof(answer));
  EXPECT_EQ(answer.version, IZO_DEVICE_VERSION);
  EXPECT_EQ(answer.id, 77U);
  EXPECT_EQ(answer.error, static_cast<__u32>(ENOSPC));
}

}  // namespace
}  // namespace izo::kernel
