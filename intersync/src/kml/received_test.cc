// SPDX-License-Identifier: GPL-2.0
#include "kml/received.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstring>
#include <stdexcept>

#include "kml/wire.h"

namespace izo::kml {
namespace {

constexpr std::size_t kCopy = 4096;

/// A file with nothing written in it.
std::vector<std::byte> empty_file() {
  return std::vector<std::byte>(kCopy * IZO_RCVD_COPIES);
}

void put(std::vector<std::byte>& file, std::size_t copy, std::size_t at, std::uint64_t serial,
         std::uint64_t recno) {
  izo_rcvd_slot slot{};
  slot.magic = little(std::uint32_t{IZO_RCVD_MAGIC});
  slot.replica[0] = static_cast<__u8>(at + 1);
  slot.epoch = little(std::uint64_t{7});
  slot.recno = little(recno);
  slot.offset = little(recno * 256);
  slot.serial = little(serial);
  slot.outcome = little(std::uint32_t{257});
  slot.flags = little(std::uint32_t{1});
  const std::uint32_t crc =
      little(crc32c_without(std::as_bytes(std::span(&slot, 1)), offsetof(izo_rcvd_slot, crc)));
  slot.crc = crc;
  std::memcpy(&file[copy * kCopy + at * sizeof(slot)], &slot, sizeof(slot));
}

std::vector<ReceivedSlot> decoded(const std::vector<std::byte>& file) {
  const DecodedReceived out = decode_received(file);
  EXPECT_TRUE(std::holds_alternative<std::vector<ReceivedSlot>>(out));
  return std::get<std::vector<ReceivedSlot>>(out);
}

TEST(Received, NothingWrittenIsNobody) {
  EXPECT_TRUE(decoded(empty_file()).empty());
}

TEST(Received, TheNewestCopyCounts) {
  std::vector<std::byte> file = empty_file();
  put(file, 1, 0, 8, 100);
  put(file, 2, 0, 9, 101);
  put(file, 2, 1, 9, 5);
  put(file, 3, 0, 2, 94);
  const std::vector<ReceivedSlot> slots = decoded(file);
  ASSERT_EQ(slots.size(), 2U);
  EXPECT_EQ(slots[0], (ReceivedSlot{.replica = {1},
                                    .epoch = 7,
                                    .recno = 101,
                                    .offset = std::uint64_t{101} * 256,
                                    .outcome = 257,
                                    .flags = 1}));
  EXPECT_EQ(slots[1].recno, 5U);
}

TEST(Received, ADamagedCopyIsNotThere) {
  for (std::size_t byte = 0; byte < 3 * sizeof(izo_rcvd_slot); byte++) {
    std::vector<std::byte> file = empty_file();
    put(file, 0, 0, 1, 100);
    put(file, 1, 0, 2, 101);
    put(file, 1, 1, 2, 7);
    file[kCopy + byte] ^= std::byte{1};
    const std::vector<ReceivedSlot> slots = decoded(file);
    ASSERT_EQ(slots.size(), 1U) << byte;
    EXPECT_EQ(slots[0].recno, 100U) << byte;
  }
}

TEST(Received, ACopyWithAHoleIsNotThere) {
  for (std::size_t hole = 0; hole < 3; hole++) {
    std::vector<std::byte> file = empty_file();
    put(file, 0, 0, 1, 100);
    for (std::size_t at = 0; at < 4; at++) {
      if (at != hole) {
        put(file, 1, at, 2, 101);
      }
    }
    const std::vector<ReceivedSlot> slots = decoded(file);
    ASSERT_EQ(slots.size(), 1U) << hole;
    EXPECT_EQ(slots[0].recno, 100U) << hole;
  }
}

TEST(Received, AnotherLengthIsNoSuchFile) {
  EXPECT_TRUE(std::holds_alternative<Corrupt>(decode_received({})));
  const std::vector<std::byte> odd(kCopy * IZO_RCVD_COPIES + 1);
  EXPECT_TRUE(std::holds_alternative<Corrupt>(decode_received(odd)));
}

TEST(Received, WhatIsEncodedIsThere) {
  const std::vector<ReceivedSlot> slots{{.replica = {1},
                                         .epoch = 7,
                                         .recno = 101,
                                         .offset = 4096,
                                         .outcome = 257,
                                         .flags = IZO_RCVD_UPSTREAM},
                                        {.replica = {2}, .epoch = 8, .recno = 1, .offset = 8}};
  const std::vector<std::byte> file = encode_received(slots, kCopy);
  EXPECT_EQ(file.size(), kCopy * IZO_RCVD_COPIES);
  EXPECT_EQ(decoded(file), slots);
  EXPECT_EQ(encode_received({}, kCopy), empty_file());
  const std::vector<ReceivedSlot> many(kCopy / sizeof(izo_rcvd_slot) + 1);
  EXPECT_THROW(encode_received(many, kCopy), std::length_error);
}

}  // namespace
}  // namespace izo::kml
