// SPDX-License-Identifier: GPL-2.0
#include "daemon/uploads.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>

#include "daemon/fake_clock.h"
#include "daemon/test_store.h"

namespace izo::daemon {
namespace {

using std::chrono::minutes;
using std::chrono::nanoseconds;

constexpr kml::Uuid kClient{1};
constexpr kml::Uuid kOther{2};
constexpr std::uint64_t kVersion = 5;

class UploadsTest : public testing::Test {
 protected:
  TemporaryFolder folder_;
  FakeClock clock_;
  int staged_ = 0;
  Uploads uploads_{clock_, [this] {
                     staged_++;
                     return stage_in(folder_);
                   }};
};

TEST_F(UploadsTest, PiecesInOrderMakeTheBody) {
  const std::vector<std::byte> body = sample_body(10000);
  EXPECT_EQ(uploads_.add(kClient, 7, kVersion, 0, Bytes(body).first(4000)), 4000U);
  EXPECT_EQ(uploads_.add(kClient, 7, kVersion, 4000, Bytes(body).subspan(4000, 1)), 4001U);
  EXPECT_EQ(uploads_.add(kClient, 7, kVersion, 4001, Bytes(body).subspan(4001)), 10000U);
  const std::shared_ptr<BodyFile> taken = uploads_.whole(kClient, 7, 10000);
  ASSERT_TRUE(taken);
  EXPECT_EQ(taken->size(), 10000U);
  EXPECT_TRUE(taken->is_whole());
  EXPECT_EQ(content_of(taken.get()), body);
  EXPECT_EQ(staged_, 1);
  // Nothing is added to it, and it is there until it is not needed any more.
  EXPECT_EQ(uploads_.add(kClient, 7, kVersion, 10000, body), 10000U);
  EXPECT_EQ(uploads_.whole(kClient, 7, 10000), taken);
  EXPECT_EQ(taken->size(), 10000U);
  uploads_.forget(kClient, 7);
  EXPECT_EQ(uploads_.whole(kClient, 7, 10000), nullptr);
  EXPECT_EQ(uploads_.add(kClient, 7, kVersion, 10000, body), 0U);
}

TEST_F(UploadsTest, WhatIsNotNeededAnyMoreIsThatClientsUpToThatNumber) {
  for (const std::uint64_t number : {1U, 2U, 3U}) {
    uploads_.add(kClient, number, kVersion, 0, sample_body(10));
    uploads_.add(kOther, number, kVersion, 0, sample_body(10));
  }
  uploads_.forget(kClient, 2);
  for (const std::uint64_t number : {1U, 2U, 3U}) {
    EXPECT_EQ(uploads_.whole(kClient, number, 10) != nullptr, number == 3) << number;
    EXPECT_NE(uploads_.whole(kOther, number, 10), nullptr) << number;
  }
}

TEST_F(UploadsTest, ARepeatedPieceIsNotAddedTwice) {
  // Its answer was lost, so it comes again.
  const std::vector<std::byte> body = sample_body(300);
  uploads_.add(kClient, 7, kVersion, 0, Bytes(body).first(100));
  uploads_.add(kClient, 7, kVersion, 100, Bytes(body).subspan(100, 100));
  EXPECT_EQ(uploads_.add(kClient, 7, kVersion, 100, Bytes(body).subspan(100, 100)), 200U);
  EXPECT_EQ(uploads_.add(kClient, 7, kVersion, 200, Bytes(body).subspan(200)), 300U);
  EXPECT_EQ(content_of(uploads_.whole(kClient, 7, 300).get()), body);
}

TEST_F(UploadsTest, APieceBehindAGapIsNotAdded) {
  const std::vector<std::byte> body = sample_body(300);
  uploads_.add(kClient, 7, kVersion, 0, Bytes(body).first(100));
  EXPECT_EQ(uploads_.add(kClient, 7, kVersion, 200, Bytes(body).subspan(200)), 100U);
  EXPECT_EQ(uploads_.add(kClient, 7, kVersion, 100, Bytes(body).subspan(100)), 300U);
  EXPECT_EQ(content_of(uploads_.whole(kClient, 7, 300).get()), body);
  // Of a body that never began nothing is here.
  EXPECT_EQ(uploads_.add(kClient, 8, kVersion, 200, body), 0U);
  EXPECT_EQ(uploads_.whole(kClient, 8, 0), nullptr);
}

TEST_F(UploadsTest, ABodyCanBeBegunAnew) {
  const std::vector<std::byte> body = sample_body(200, 2);
  uploads_.add(kClient, 7, kVersion, 0, sample_body(100));
  EXPECT_EQ(uploads_.add(kClient, 7, kVersion, 0, Bytes(body).first(50)), 50U);
  EXPECT_EQ(uploads_.add(kClient, 7, kVersion, 50, Bytes(body).subspan(50)), 200U);
  EXPECT_EQ(content_of(uploads_.whole(kClient, 7, 200).get()), body);
  EXPECT_EQ(staged_, 2);
}

TEST_F(UploadsTest, APieceOfAnotherVersionIsNotAdded) {
  const std::vector<std::byte> body = sample_body(200);
  uploads_.add(kClient, 7, kVersion, 0, Bytes(body).first(100));
  EXPECT_EQ(uploads_.add(kClient, 7, kVersion + 1, 100, sample_body(100, 2)), 0U);
  EXPECT_EQ(uploads_.add(kClient, 7, kVersion, 100, Bytes(body).subspan(100)), 200U);
  EXPECT_EQ(content_of(uploads_.whole(kClient, 7, 200).get()), body);
  // Also when the other one came first.
  uploads_.add(kClient, 8, kVersion, 0, sample_body(100, 2));
  uploads_.add(kClient, 8, kVersion + 1, 0, Bytes(body).first(100));
  EXPECT_EQ(uploads_.add(kClient, 8, kVersion, 100, sample_body(100, 2)), 0U);
  EXPECT_EQ(uploads_.add(kClient, 8, kVersion + 1, 100, Bytes(body).subspan(100)), 200U);
  EXPECT_EQ(content_of(uploads_.whole(kClient, 8, 200).get()), body);
}

TEST_F(UploadsTest, WhatHasNothingButZerosTakesNoRoom) {
  std::vector<std::byte> body(std::size_t{8} << 20);
  for (const std::size_t at :
       {std::size_t{5'000'000}, std::size_t{5'000'001}, body.size() - 9000}) {
    body[at] = std::byte{7};
  }
  // Pieces that end anywhere in a block, and one with none but zeros at the end.
  constexpr std::size_t kPiece = 1'234'567;
  for (std::size_t at = 0; at < body.size(); at += kPiece) {
    const auto piece = Bytes(body).subspan(at, std::min(kPiece, body.size() - at));
    EXPECT_EQ(uploads_.add(kClient, 7, kVersion, at, piece), at + piece.size());
  }
  const std::shared_ptr<BodyFile> taken = uploads_.whole(kClient, 7, body.size());
  ASSERT_TRUE(taken);
  EXPECT_EQ(content_of(taken.get()), body);
  struct stat st{};
  ASSERT_EQ(::fstat(taken->fd(), &st), 0);
  EXPECT_EQ(static_cast<std::size_t>(st.st_size), body.size());
  EXPECT_LE(st.st_blocks, 64);
}

TEST_F(UploadsTest, WhatIsOldGoesByItself) {
  uploads_.add(kClient, 7, kVersion, 0, sample_body(100));
  clock_.now += minutes(10) + nanoseconds(1);
  uploads_.forget_old();
  EXPECT_EQ(uploads_.whole(kClient, 7, 100), nullptr);
}

TEST_F(UploadsTest, AnEmptyBodyIsOne) {
  EXPECT_EQ(uploads_.add(kClient, 7, kVersion, 0, {}), 0U);
  const std::shared_ptr<BodyFile> taken = uploads_.whole(kClient, 7, 0);
  ASSERT_TRUE(taken);
  EXPECT_EQ(taken->size(), 0U);
}

TEST_F(UploadsTest, NumbersAreAClientsOwn) {
  uploads_.add(kClient, 7, kVersion, 0, sample_body(100, 1));
  uploads_.add(kOther, 7, kVersion, 0, sample_body(100, 2));
  uploads_.add(kClient, 8, kVersion, 0, sample_body(100, 3));
  EXPECT_EQ(uploads_.whole(kOther, 8, 100), nullptr);
  EXPECT_EQ(content_of(uploads_.whole(kOther, 7, 100).get()), sample_body(100, 2));
  EXPECT_EQ(content_of(uploads_.whole(kClient, 8, 100).get()), sample_body(100, 3));
  EXPECT_EQ(content_of(uploads_.whole(kClient, 7, 100).get()), sample_body(100, 1));
}

TEST_F(UploadsTest, ABodyOfAnotherSizeIsNotGivenOut) {
  uploads_.add(kClient, 7, kVersion, 0, sample_body(100));
  for (const std::uint64_t size : {0U, 99U, 101U}) {
    EXPECT_EQ(uploads_.whole(kClient, 7, size), nullptr) << size;
  }
  // It stays: more of it may come.
  EXPECT_TRUE(uploads_.whole(kClient, 7, 100));
}

TEST_F(UploadsTest, WhatNobodyGoesOnWithIsForgotten) {
  uploads_.add(kClient, 1, kVersion, 0, sample_body(100));
  uploads_.add(kClient, 2, kVersion, 0, sample_body(100));
  clock_.now += minutes(6);
  uploads_.add(kClient, 2, kVersion, 100, sample_body(100));
  clock_.now += minutes(4);
  uploads_.add(kOther, 3, kVersion, 0, {});
  // Ten minutes are not more than ten minutes.
  EXPECT_EQ(uploads_.add(kClient, 1, kVersion, 50, {}), 100U);
  clock_.now += minutes(6) + nanoseconds(1);
  uploads_.add(kOther, 4, kVersion, 0, {});
  EXPECT_EQ(uploads_.whole(kClient, 2, 200), nullptr);
  EXPECT_TRUE(uploads_.whole(kClient, 1, 100));
}

TEST_F(UploadsTest, OfOneClientAtMost1024AreKept) {
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_cur < 1200) {
    GTEST_SKIP() << "each is an open file";
  }
  uploads_.add(kOther, 1, kVersion, 0, sample_body(10));
  for (std::uint64_t number = 1; number <= 1024; number++) {
    uploads_.add(kClient, number, kVersion, 0, sample_body(10));
  }
  // One begun anew takes no more room.
  uploads_.add(kClient, 1024, kVersion, 0, sample_body(10));
  EXPECT_EQ(uploads_.add(kClient, 1, kVersion, 10, {}), 10U);
  uploads_.add(kClient, 1025, kVersion, 0, sample_body(10));
  // The oldest record's went.
  EXPECT_EQ(uploads_.whole(kClient, 1, 10), nullptr);
  for (std::uint64_t number = 2; number <= 1025; number++) {
    ASSERT_TRUE(uploads_.whole(kClient, number, 10)) << number;
  }
  EXPECT_TRUE(uploads_.whole(kOther, 1, 10));
}

TEST_F(UploadsTest, OfAllClientsTogetherTheOneThatWasLeftAloneLongestGoes) {
  Uploads few(clock_, [this] { return stage_in(folder_); }, 4);
  const auto add = [&](unsigned client, std::uint64_t version, std::uint64_t offset,
                       const std::vector<std::byte>& piece) {
    clock_.now += std::chrono::seconds(1);
    return few.add({static_cast<std::uint8_t>(client)}, 1, version, offset, piece);
  };
  const auto is_here = [&](unsigned client) { return add(client, kVersion, 10, {}) != 0; };
  const std::vector<std::byte> body = sample_body(10);
  for (const unsigned client : {9U, 8U, 7U, 6U}) {
    add(client, kVersion, 0, body);
  }
  // Left alone is not who goes on, who is named in a push, and who begins anew, which takes no more
  // room. A late piece of another version is none.
  add(9, kVersion, 10, body);
  clock_.now += std::chrono::seconds(1);
  EXPECT_TRUE(few.whole({8}, 1, 10));
  add(6, kVersion, 0, body);
  EXPECT_EQ(add(7, kVersion + 1, 10, body), 0U);
  add(5, kVersion, 0, body);
  EXPECT_FALSE(is_here(7));
  for (const unsigned client : {9U, 8U, 6U, 5U}) {
    EXPECT_TRUE(is_here(client)) << client;
  }
  // Any number of clients that nobody knows.
  for (unsigned client = 10; client < 100; client++) {
    add(client, kVersion, 0, body);
  }
  for (unsigned client = 0; client < 100; client++) {
    EXPECT_EQ(is_here(client), client >= 96) << client;
  }
}

TEST_F(UploadsTest, WhoSendsMuchCostsOthersNothing) {
  Uploads few(clock_, [this] { return stage_in(folder_); }, 4);
  const std::vector<std::byte> body = sample_body(10);
  const auto add = [&](unsigned client, std::uint64_t number, std::uint64_t offset) {
    clock_.now += std::chrono::seconds(1);
    return few.add({static_cast<std::uint8_t>(client)}, number, kVersion, offset,
                   offset == 0 ? body : std::vector<std::byte>());
  };
  add(1, 1, 0);
  for (std::uint64_t number = 1; number <= 5; number++) {
    add(2, number, 0);
  }
  EXPECT_EQ(add(1, 1, 10), 10U);
  EXPECT_EQ(add(2, 2, 10), 0U);
  EXPECT_EQ(add(2, 3, 10), 10U);
  add(3, 1, 0);
  EXPECT_EQ(add(2, 4, 10), 0U);
  EXPECT_EQ(add(1, 1, 10), 10U);
}

}  // namespace
}  // namespace izo::daemon
