// SPDX-License-Identifier: GPL-2.0
#include "base/backoff.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

namespace izo {
namespace {

using std::chrono::milliseconds;

/// Gives the numbers it was made with, over and over.
class Given final : public Random {
 public:
  explicit Given(std::vector<std::uint64_t> numbers) : numbers_(std::move(numbers)) {}
  void fill(std::span<std::byte> bytes) override {
    const std::uint64_t number = numbers_[used_++ % numbers_.size()];
    std::memcpy(bytes.data(), &number, std::min(bytes.size(), sizeof(number)));
  }
  [[nodiscard]] std::size_t used() const { return used_; }

 private:
  std::vector<std::uint64_t> numbers_;
  std::size_t used_ = 0;
};

std::vector<int> delays(Backoff& backoff, Random& random, int count) {
  std::vector<int> result;
  result.reserve(static_cast<std::size_t>(count));
  for (int i = 0; i < count; i++) {
    result.push_back(static_cast<int>(backoff.next(random).count()));
  }
  return result;
}

TEST(Backoff, DoublesUpToItsLimit) {
  struct Row {
    Backoff::Limits limits;
    std::vector<int> expected;
  };
  const std::vector<Row> rows = {
      {{milliseconds(1000), milliseconds(60000)},
       {1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000}},
      {{milliseconds(10), milliseconds(10)}, {10, 10, 10, 10, 10, 10, 10, 10}},
      {{milliseconds(100), milliseconds(50)}, {50, 50, 50, 50, 50, 50, 50, 50}},
      {{milliseconds(0), milliseconds(50)}, {0, 0, 0, 0, 0, 0, 0, 0}},
      {{milliseconds(1), milliseconds(3)}, {1, 2, 3, 3, 3, 3, 3, 3}},
  };
  for (const Row& row : rows) {
    Given none({0});
    Backoff backoff(row.limits);
    EXPECT_EQ(delays(backoff, none, 8), row.expected) << row.limits.first.count();
    backoff.reset();
    EXPECT_EQ(delays(backoff, none, 1).front(), row.expected.front());
  }
}

TEST(Backoff, TakesOffUpToOneHalf) {
  SystemRandom random;
  int least = 1000;
  int most = 0;
  for (int i = 0; i < 2000; i++) {
    Backoff backoff({milliseconds(1000), milliseconds(60000)});
    const int delay = delays(backoff, random, 1).front();
    least = std::min(least, delay);
    most = std::max(most, delay);
  }
  EXPECT_GE(least, 500);
  EXPECT_LT(least, 520);
  EXPECT_LE(most, 1000);
  EXPECT_GT(most, 980);
}

TEST(Random, NumbersBeyondTheLastWholeMultipleAreDrawnAgain) {
  Given numbers({~std::uint64_t{0}, 7});
  EXPECT_EQ(numbers.below(10), 7U);
  EXPECT_EQ(numbers.used(), 2U);
  // 2^64 is a multiple of 2: no number is drawn again.
  Given largest({~std::uint64_t{0}});
  EXPECT_EQ(largest.below(2), 1U);
  EXPECT_EQ(largest.below(1), 0U);
  EXPECT_EQ(largest.used(), 2U);
}

}  // namespace
}  // namespace izo
