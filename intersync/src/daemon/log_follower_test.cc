// SPDX-License-Identifier: GPL-2.0
#include "daemon/log_follower.h"

#include <gtest/gtest.h>
#include <linux/intermezzo.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>

#include "base/error.h"
#include "daemon/fake_clock.h"

namespace izo::daemon {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

constexpr milliseconds kLimit{10000};

/// The other end of the channel is the test's.
class LogFollowerTest : public testing::Test {
 protected:
  void begin(const LogFollower::Delays& delays) {
    std::array<int, 2> ends{};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, ends.data()), 0);
    kernel_.reset(ends[0]);
    follower_.emplace(loop_, clock_, "home", kernel::Channel(UniqueFd(ends[1]), "/dev/intermezzo5"),
                      delays,
                      LogFollower::Events{.grew = [this] { grew_++; },
                                          .is_followed = [this] { return followed_; },
                                          .commit =
                                              [this] {
                                                committed_at_ = system_.monotonic();
                                                commits_++;
                                                if (fails_) {
                                                  throw Error("no commit in this test");
                                                }
                                              },
                                          .gone = [this] { gone_++; }});
  }

  static izo_upcall head(std::uint16_t type, std::size_t size, std::string_view name) {
    izo_upcall out{.size = static_cast<__u32>(size),
                   .version = IZO_DEVICE_VERSION,
                   .type = type,
                   .id = 1,
                   .channel = 5,
                   .epoch = 99};
    out.fileset[0] = 1;
    std::copy(name.begin(), name.end(), out.name);
    return out;
  }
  void say(const auto& upcall) const {
    ASSERT_EQ(::send(kernel_.get(), &upcall, sizeof(upcall), 0),
              static_cast<ssize_t>(sizeof(upcall)));
  }
  /// The log has got records up to that one, and is on the medium up to the other.
  void grow(std::uint64_t recno, std::uint64_t committed, std::string_view name = "home") {
    say(izo_upcall_kml_grew{.head = head(IZO_UPCALL_KML_GREW, sizeof(izo_upcall_kml_grew), name),
                            .committed = 120,
                            .committed_recno = committed,
                            .recno = recno});
  }
  bool comes(const std::function<bool()>& condition) { return loop_.run_until(condition, kLimit); }
  /// Lets all happen that is due now: timers run in the order in which they are due.
  void let_pass(milliseconds delay = milliseconds(1)) {
    bool passed = false;
    const MainLoop::Handle timer = loop_.after(delay, [&] { passed = true; });
    ASSERT_TRUE(comes([&] { return passed; }));
  }

  MainLoop loop_;
  SystemClock system_;
  FakeClock clock_;
  UniqueFd kernel_;
  std::optional<LogFollower> follower_;
  unsigned grew_ = 0;
  unsigned commits_ = 0;
  unsigned gone_ = 0;
  nanoseconds committed_at_{};
  bool followed_ = true;
  bool fails_ = false;
};

constexpr LogFollower::Delays kAtOnce{.commit = milliseconds(0), .between = milliseconds(0)};

TEST_F(LogFollowerTest, WhatIsNotOnTheMediumComesThereAfterTheDelay) {
  constexpr milliseconds kDelay{60};
  begin({.commit = kDelay, .between = milliseconds(0)});
  const nanoseconds start = system_.monotonic();
  // Many of them need one commit.
  for (std::uint64_t recno = 1; recno <= 20; recno++) {
    grow(recno, 0);
  }
  ASSERT_TRUE(comes([this] { return commits_ != 0; }));
  EXPECT_EQ(grew_, 20U);
  EXPECT_GE(committed_at_ - start, kDelay);
  let_pass(kDelay);
  EXPECT_EQ(commits_, 1U);
}

TEST_F(LogFollowerTest, WhatIsOnTheMediumNeedsNoCommit) {
  begin(kAtOnce);
  grow(7, 7);
  ASSERT_TRUE(comes([this] { return grew_ != 0; }));
  let_pass();
  EXPECT_EQ(commits_, 0U);
}

TEST_F(LogFollowerTest, WithoutAPeerThatFollowsNothingIsForced) {
  followed_ = false;
  begin(kAtOnce);
  grow(7, 0);
  ASSERT_TRUE(comes([this] { return grew_ != 0; }));
  let_pass();
  EXPECT_EQ(commits_, 0U);
  // One that comes later gets it.
  followed_ = true;
  follower_->follow();
  EXPECT_TRUE(comes([this] { return commits_ != 0; }));
}

TEST_F(LogFollowerTest, OneThatFollowsFromTheBeginningGetsWhatWasThereBefore) {
  begin(kAtOnce);
  follower_->follow();
  EXPECT_TRUE(comes([this] { return commits_ != 0; }));
  // Once.
  follower_->follow();
  let_pass();
  EXPECT_EQ(commits_, 1U);
}

TEST_F(LogFollowerTest, BetweenTwoCommitsThereIsSomeTime) {
  constexpr milliseconds kBetween{60};
  begin({.commit = milliseconds(0), .between = kBetween});
  clock_.now = std::chrono::hours(1);
  grow(1, 0);
  ASSERT_TRUE(comes([this] { return commits_ == 1; }));
  const nanoseconds first = committed_at_;
  grow(2, 1);
  ASSERT_TRUE(comes([this] { return commits_ == 2; }));
  EXPECT_GE(committed_at_ - first, kBetween);
  // Later there is no need to wait.
  clock_.now += kBetween;
  grow(3, 2);
  ASSERT_TRUE(comes([this] { return grew_ == 3; }));
  let_pass();
  EXPECT_EQ(commits_, 3U);
}

TEST_F(LogFollowerTest, ACommitThatFailsIsTriedAgainWhenTheLogGrows) {
  begin(kAtOnce);
  fails_ = true;
  grow(1, 0);
  testing::internal::CaptureStderr();
  EXPECT_TRUE(comes([this] { return commits_ == 1; }));
  EXPECT_NE(testing::internal::GetCapturedStderr().find("no commit in this test"),
            std::string::npos);
  fails_ = false;
  grow(2, 0);
  EXPECT_TRUE(comes([this] { return commits_ == 2; }));
}

TEST_F(LogFollowerTest, AnotherFilesetOfTheChannelIsNotOurs) {
  begin(kAtOnce);
  grow(7, 0, "other");
  say(head(IZO_UPCALL_GONE, sizeof(izo_upcall), "other"));
  grow(1, 1);
  ASSERT_TRUE(comes([this] { return grew_ != 0; }));
  let_pass();
  EXPECT_EQ(grew_, 1U);
  EXPECT_EQ(commits_, 0U);
  EXPECT_EQ(gone_, 0U);
  say(head(IZO_UPCALL_GONE, sizeof(izo_upcall), "home"));
  EXPECT_TRUE(comes([this] { return gone_ == 1; }));
}

TEST_F(LogFollowerTest, AMountIsAnswered) {
  begin(kAtOnce);
  izo_upcall_mounted mounted{.head = head(IZO_UPCALL_MOUNTED, sizeof(izo_upcall_mounted), "home"),
                             .replica = {1}};
  mounted.head.id = 77;
  mounted.head.flags = IZO_UPCALL_ASKS;
  say(mounted);
  izo_answer answer{};
  ASSERT_TRUE(comes([&] {
    return ::recv(kernel_.get(), &answer, sizeof(answer), 0) ==
           static_cast<ssize_t>(sizeof(answer));
  }));
  EXPECT_EQ(answer.id, 77U);
  EXPECT_EQ(answer.error, 0U);
}

}  // namespace
}  // namespace izo::daemon
