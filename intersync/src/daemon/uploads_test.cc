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

/// A piece of a body that has no holes, and whose size says nothing.
proto::Upload piece(const kml::Uuid& client, std::uint64_t number, std::uint64_t version,
                    std::uint64_t offset, Bytes bytes) {
  return {.client = client,
          .number = number,
          .version = version,
          .size = std::uint64_t{1} << 24,
          .offset = offset,
          .hole = 0,
          .piece = {bytes.begin(), bytes.end()}};
}

std::int64_t blocks_of(const BodyFile& body) {
  struct stat st{};
  return ::fstat(body.fd(), &st) == 0 ? st.st_blocks : -1;
}

class UploadsTest : public testing::Test {
 protected:
  std::uint64_t add(const kml::Uuid& client, std::uint64_t number, std::uint64_t version,
                    std::uint64_t offset, Bytes bytes) {
    return uploads_.add(piece(client, number, version, offset, bytes));
  }

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
  EXPECT_EQ(add(kClient, 7, kVersion, 0, Bytes(body).first(4000)), 4000U);
  EXPECT_EQ(add(kClient, 7, kVersion, 4000, Bytes(body).subspan(4000, 1)), 4001U);
  EXPECT_EQ(add(kClient, 7, kVersion, 4001, Bytes(body).subspan(4001)), 10000U);
  const std::shared_ptr<BodyFile> taken = uploads_.whole(kClient, 7, 10000);
  ASSERT_TRUE(taken);
  EXPECT_EQ(taken->size(), 10000U);
  EXPECT_TRUE(taken->is_whole());
  EXPECT_EQ(content_of(taken.get()), body);
  EXPECT_EQ(staged_, 1);
  // Nothing is added to it, and it is there until it is not needed any more.
  EXPECT_EQ(add(kClient, 7, kVersion, 10000, body), 10000U);
  EXPECT_EQ(uploads_.whole(kClient, 7, 10000), taken);
  EXPECT_EQ(taken->size(), 10000U);
  uploads_.forget(kClient, 7);
  EXPECT_EQ(uploads_.whole(kClient, 7, 10000), nullptr);
  EXPECT_EQ(add(kClient, 7, kVersion, 10000, body), 0U);
}

TEST_F(UploadsTest, WhatIsNotNeededAnyMoreIsThatClientsUpToThatNumber) {
  for (const std::uint64_t number : {1U, 2U, 3U}) {
    add(kClient, number, kVersion, 0, sample_body(10));
    add(kOther, number, kVersion, 0, sample_body(10));
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
  add(kClient, 7, kVersion, 0, Bytes(body).first(100));
  add(kClient, 7, kVersion, 100, Bytes(body).subspan(100, 100));
  EXPECT_EQ(add(kClient, 7, kVersion, 100, Bytes(body).subspan(100, 100)), 200U);
  EXPECT_EQ(add(kClient, 7, kVersion, 200, Bytes(body).subspan(200)), 300U);
  EXPECT_EQ(content_of(uploads_.whole(kClient, 7, 300).get()), body);
}

TEST_F(UploadsTest, APieceBehindAGapIsNotAdded) {
  const std::vector<std::byte> body = sample_body(300);
  add(kClient, 7, kVersion, 0, Bytes(body).first(100));
  EXPECT_EQ(add(kClient, 7, kVersion, 200, Bytes(body).subspan(200)), 100U);
  EXPECT_EQ(add(kClient, 7, kVersion, 100, Bytes(body).subspan(100)), 300U);
  EXPECT_EQ(content_of(uploads_.whole(kClient, 7, 300).get()), body);
  // Of a body that never began nothing is here.
  EXPECT_EQ(add(kClient, 8, kVersion, 200, body), 0U);
  EXPECT_EQ(uploads_.whole(kClient, 8, 0), nullptr);
}

TEST_F(UploadsTest, ABodyCanBeBegunAnew) {
  const std::vector<std::byte> body = sample_body(200, 2);
  add(kClient, 7, kVersion, 0, sample_body(100));
  EXPECT_EQ(add(kClient, 7, kVersion, 0, Bytes(body).first(50)), 50U);
  EXPECT_EQ(add(kClient, 7, kVersion, 50, Bytes(body).subspan(50)), 200U);
  EXPECT_EQ(content_of(uploads_.whole(kClient, 7, 200).get()), body);
  EXPECT_EQ(staged_, 2);
}

TEST_F(UploadsTest, APieceOfAnotherVersionIsNotAdded) {
  const std::vector<std::byte> body = sample_body(200);
  add(kClient, 7, kVersion, 0, Bytes(body).first(100));
  EXPECT_EQ(add(kClient, 7, kVersion + 1, 100, sample_body(100, 2)), 0U);
  EXPECT_EQ(add(kClient, 7, kVersion, 100, Bytes(body).subspan(100)), 200U);
  EXPECT_EQ(content_of(uploads_.whole(kClient, 7, 200).get()), body);
  // Also when the other one came first.
  add(kClient, 8, kVersion, 0, sample_body(100, 2));
  add(kClient, 8, kVersion + 1, 0, Bytes(body).first(100));
  EXPECT_EQ(add(kClient, 8, kVersion, 100, sample_body(100, 2)), 0U);
  EXPECT_EQ(add(kClient, 8, kVersion + 1, 100, Bytes(body).subspan(100)), 200U);
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
    const auto bytes = Bytes(body).subspan(at, std::min(kPiece, body.size() - at));
    EXPECT_EQ(add(kClient, 7, kVersion, at, bytes), at + bytes.size());
  }
  const std::shared_ptr<BodyFile> taken = uploads_.whole(kClient, 7, body.size());
  ASSERT_TRUE(taken);
  EXPECT_EQ(content_of(taken.get()), body);
  EXPECT_LE(blocks_of(*taken), 64);
}

TEST_F(UploadsTest, HolesOfAnyLengthAreLeftOut) {
  proto::Upload next = piece(kClient, 7, kVersion, 0, sample_body(5000));
  next.size = (std::uint64_t{3} << 40) + 10000;
  EXPECT_EQ(uploads_.add(next), 5000U);
  next.offset = 5000;
  next.hole = std::uint64_t{2} << 40;
  EXPECT_EQ(uploads_.add(next), next.hole + 10000);
  // Its answer was lost.
  EXPECT_EQ(uploads_.add(next), next.hole + 10000);
  next.offset = next.hole + 10000;
  next.hole = next.size - next.offset;
  next.piece.clear();
  EXPECT_EQ(uploads_.add(next), next.size);
  const std::shared_ptr<BodyFile> taken = uploads_.whole(kClient, 7, next.size);
  ASSERT_TRUE(taken);
  EXPECT_EQ(taken->size(), next.size);
  EXPECT_LE(blocks_of(*taken), 64);
  std::vector<std::byte> there(15000);
  taken->read((std::uint64_t{2} << 40), there);
  std::vector<std::byte> expected(15000);
  std::ranges::copy(sample_body(5000), expected.begin() + 5000);
  EXPECT_EQ(there, expected);
}

TEST_F(UploadsTest, OfWhatIsTooLargeForAFileNothingIsKept) {
  const LargestFile limit(std::uint64_t{2} << 30);
  proto::Upload next = piece(kClient, 7, kVersion, 0, sample_body(5000));
  next.size = (std::uint64_t{2} << 30) + 1;
  // No more of it needs to come.
  EXPECT_EQ(uploads_.add(next), next.size);
  next.offset = 5000;
  EXPECT_EQ(uploads_.add(next), next.size);
  const std::shared_ptr<BodyFile> taken = uploads_.whole(kClient, 7, next.size);
  ASSERT_TRUE(taken);
  EXPECT_FALSE(taken->fits());
  EXPECT_EQ(taken->size(), next.size);
  next = piece(kClient, 8, kVersion, 0, sample_body(5000));
  next.size = std::uint64_t{2} << 30;
  EXPECT_EQ(uploads_.add(next), 5000U);
}

TEST_F(UploadsTest, WhatIsOldGoesByItself) {
  add(kClient, 7, kVersion, 0, sample_body(100));
  clock_.now += minutes(10) + nanoseconds(1);
  uploads_.forget_old();
  EXPECT_EQ(uploads_.whole(kClient, 7, 100), nullptr);
}

TEST_F(UploadsTest, AnEmptyBodyIsOne) {
  EXPECT_EQ(add(kClient, 7, kVersion, 0, {}), 0U);
  const std::shared_ptr<BodyFile> taken = uploads_.whole(kClient, 7, 0);
  ASSERT_TRUE(taken);
  EXPECT_EQ(taken->size(), 0U);
}

TEST_F(UploadsTest, NumbersAreAClientsOwn) {
  add(kClient, 7, kVersion, 0, sample_body(100, 1));
  add(kOther, 7, kVersion, 0, sample_body(100, 2));
  add(kClient, 8, kVersion, 0, sample_body(100, 3));
  EXPECT_EQ(uploads_.whole(kOther, 8, 100), nullptr);
  EXPECT_EQ(content_of(uploads_.whole(kOther, 7, 100).get()), sample_body(100, 2));
  EXPECT_EQ(content_of(uploads_.whole(kClient, 8, 100).get()), sample_body(100, 3));
  EXPECT_EQ(content_of(uploads_.whole(kClient, 7, 100).get()), sample_body(100, 1));
}

TEST_F(UploadsTest, ABodyOfAnotherSizeIsNotGivenOut) {
  add(kClient, 7, kVersion, 0, sample_body(100));
  for (const std::uint64_t size : {0U, 99U, 101U}) {
    EXPECT_EQ(uploads_.whole(kClient, 7, size), nullptr) << size;
  }
  // It stays: more of it may come.
  EXPECT_TRUE(uploads_.whole(kClient, 7, 100));
}

TEST_F(UploadsTest, WhatNobodyGoesOnWithIsForgotten) {
  add(kClient, 1, kVersion, 0, sample_body(100));
  add(kClient, 2, kVersion, 0, sample_body(100));
  clock_.now += minutes(6);
  add(kClient, 2, kVersion, 100, sample_body(100));
  clock_.now += minutes(4);
  add(kOther, 3, kVersion, 0, {});
  // Ten minutes are not more than ten minutes.
  EXPECT_EQ(add(kClient, 1, kVersion, 50, {}), 100U);
  clock_.now += minutes(6) + nanoseconds(1);
  add(kOther, 4, kVersion, 0, {});
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
  add(kOther, 1, kVersion, 0, sample_body(10));
  for (std::uint64_t number = 1; number <= 1024; number++) {
    add(kClient, number, kVersion, 0, sample_body(10));
  }
  // One begun anew takes no more room.
  add(kClient, 1024, kVersion, 0, sample_body(10));
  EXPECT_EQ(add(kClient, 1, kVersion, 10, {}), 10U);
  add(kClient, 1025, kVersion, 0, sample_body(10));
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
                       const std::vector<std::byte>& bytes) {
    clock_.now += std::chrono::seconds(1);
    return few.add(piece({static_cast<std::uint8_t>(client)}, 1, version, offset, bytes));
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
    return few.add(piece({static_cast<std::uint8_t>(client)}, number, kVersion, offset,
                         offset == 0 ? body : std::vector<std::byte>()));
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
