// SPDX-License-Identifier: GPL-2.0
#include "daemon/sendings.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <string>

#include "daemon/fake_clock.h"
#include "daemon/test_store.h"

namespace izo::daemon {
namespace {

using std::chrono::minutes;
using std::chrono::nanoseconds;

constexpr std::size_t kLarge = std::size_t{1} << 20;

class SendingsTest : public testing::Test {
 protected:
  [[nodiscard]] std::string path(const std::string& name) const {
    return folder_.path() + "/" + name;
  }
  /// Of a file of that name, as whoever sends it or asks for it opens it.
  [[nodiscard]] std::shared_ptr<BodyFile> body(const std::string& name,
                                               std::size_t size = kLarge) const {
    UniqueFd file(checked(::open(path(name).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600), "open"));
    checked(::ftruncate(file.get(), static_cast<off_t>(size)), "truncate");
    return BodyFile::staged(std::move(file), size);
  }

  TemporaryFolder folder_;
  FakeClock clock_;
  SystemRandom random_;
  Sendings sendings_{clock_, random_};
};

TEST_F(SendingsTest, ABodyIsKnownByItsNumberWhileItIsSent) {
  std::shared_ptr<BodyFile> one = body("one");
  const std::uint64_t number = sendings_.add(one);
  ASSERT_NE(number, 0U);
  EXPECT_TRUE(sendings_.is_of(number, *body("one")));
  EXPECT_FALSE(sendings_.is_of(number, *body("other")));
  EXPECT_FALSE(sendings_.is_of(number + 1, *one));
  EXPECT_FALSE(sendings_.is_of(0, *one));
  // All of it was sent.
  one.reset();
  EXPECT_FALSE(sendings_.is_of(number, *body("one")));
  sendings_.keep(number);
  sendings_.forget_old();
  EXPECT_FALSE(sendings_.is_of(number, *body("one")));
}

TEST_F(SendingsTest, OneThatWasCutOffIsKept) {
  std::shared_ptr<BodyFile> one = body("one");
  const std::uint64_t number = sendings_.add(one);
  sendings_.keep(number);
  one.reset();
  sendings_.forget_old();
  EXPECT_TRUE(sendings_.is_of(number, *body("one")));
  sendings_.keep(0);
}

TEST_F(SendingsTest, ASmallOneIsSentAnew) {
  EXPECT_EQ(sendings_.add(body("one", kLarge - 1)), 0U);
  EXPECT_EQ(sendings_.add(body("other", 0)), 0U);
}

TEST_F(SendingsTest, ANumberSaysNothingToAnotherLife) {
  const std::shared_ptr<BodyFile> one = body("one");
  const std::uint64_t number = sendings_.add(one);
  Sendings next(clock_, random_);
  next.add(one);
  EXPECT_FALSE(next.is_of(number, *one));
}

TEST_F(SendingsTest, WhatNobodyAsksForIsForgotten) {
  const std::uint64_t number = sendings_.add(body("one"));
  EXPECT_FALSE(sendings_.is_of(number, *body("one")));
  const std::shared_ptr<BodyFile> other = body("other");
  const std::uint64_t asked = sendings_.add(other);
  sendings_.keep(asked);
  clock_.now += minutes(6);
  EXPECT_TRUE(sendings_.is_of(asked, *other));
  clock_.now += minutes(6);
  sendings_.forget_old();
  EXPECT_TRUE(sendings_.is_of(asked, *other));
  clock_.now += minutes(10) + nanoseconds(1);
  sendings_.forget_old();
  EXPECT_FALSE(sendings_.is_of(asked, *other));
}

TEST_F(SendingsTest, AFileThatWasRemovedKeepsNoRoom) {
  const std::shared_ptr<BodyFile> one = body("one");
  const std::uint64_t number = sendings_.add(one);
  sendings_.keep(number);
  ASSERT_EQ(::unlink(path("one").c_str()), 0);
  sendings_.forget_old();
  EXPECT_FALSE(sendings_.is_of(number, *one));
}

TEST_F(SendingsTest, TheOldestOf64GivesWay) {
  const std::shared_ptr<BodyFile> one = body("one");
  const std::uint64_t sent = sendings_.add(one);
  std::uint64_t oldest = 0;
  std::uint64_t second = 0;
  for (unsigned i = 0; i < 65; i++) {
    clock_.now += nanoseconds(1);
    const std::uint64_t number = sendings_.add(one);
    sendings_.keep(number);
    oldest = i == 0 ? number : oldest;
    second = i == 1 ? number : second;
  }
  EXPECT_FALSE(sendings_.is_of(oldest, *one));
  EXPECT_TRUE(sendings_.is_of(second, *one));
  EXPECT_TRUE(sendings_.is_of(sent, *one));
}

}  // namespace
}  // namespace izo::daemon
