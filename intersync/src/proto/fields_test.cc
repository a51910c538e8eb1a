// SPDX-License-Identifier: GPL-2.0
#include "proto/fields.h"

#include <gtest/gtest.h>

#include <limits>
#include <stdexcept>

namespace izo::proto {
namespace {

using Buffer = std::vector<std::byte>;

constexpr std::uint16_t kLargest = std::numeric_limits<std::uint16_t>::max();

kml::Uuid uuid() {
  kml::Uuid out{};
  for (std::size_t i = 0; i < out.size(); i++) {
    out[i] = static_cast<std::uint8_t>(17 * i);
  }
  return out;
}

TEST(Fields, TheBytesAreThoseOfTheDocument) {
  FieldWriter out;
  out.number(std::uint8_t{0x01});
  out.number(std::uint16_t{0x0203});
  out.number(std::uint32_t{0x04050607});
  out.number(std::uint64_t{0x08090a0b0c0d0e0f});
  out.fid({.replica = 0x1011, .ino = 0x12, .generation = 0x13});
  out.text("ab");
  out.table({uuid()});
  constexpr unsigned char kExpected[] = {
      0x01, 0x03, 0x02, 0x07, 0x06, 0x05, 0x04, 0x0f, 0x0e, 0x0d, 0x0c, 0x0b, 0x0a,
      0x09, 0x08, 0x11, 0x10, 0x12, 0,    0,    0,    0,    0,    0,    0,    0x13,
      0,    0,    0,    2,    0,    'a',  'b',  1,    0,    0,    17,   34,   51,
      68,   85,   102,  119,  136,  153,  170,  187,  204,  221,  238,  255};
  const std::span<const std::byte> expected = std::as_bytes(std::span(kExpected));
  EXPECT_EQ(out.bytes(), Buffer(expected.begin(), expected.end()));

  FieldReader in(out.bytes());
  EXPECT_EQ(in.number<std::uint8_t>(), 1U);
  EXPECT_EQ(in.number<std::uint16_t>(), 0x0203U);
  EXPECT_EQ(in.number<std::uint32_t>(), 0x04050607U);
  EXPECT_EQ(in.number<std::uint64_t>(), 0x08090a0b0c0d0e0fU);
  EXPECT_EQ(in.fid(), (kml::Fid{.replica = 0x1011, .ino = 0x12, .generation = 0x13}));
  EXPECT_EQ(in.text(), "ab");
  EXPECT_FALSE(in.ended());
  EXPECT_EQ(in.table(), (std::vector{uuid()}));
  EXPECT_TRUE(in.ended());
}

TEST(Fields, BeyondTheEndAllIsNothing) {
  FieldReader in(std::as_bytes(std::span("\xff", 1)));
  EXPECT_TRUE(in.has_more());
  EXPECT_EQ(in.number<std::uint16_t>(), 0U);
  // Also what would fit: the bytes are those of something else.
  EXPECT_EQ(in.number<std::uint8_t>(), 0U);
  EXPECT_EQ(in.fid(), kml::Fid{});
  EXPECT_EQ(in.uuid(), kml::Uuid{});
  EXPECT_EQ(in.text(), "");
  EXPECT_TRUE(in.table().empty());
  EXPECT_FALSE(in.has_more());
  EXPECT_FALSE(in.ended());
}

TEST(Fields, ATextIsAtMost64KiB) {
  FieldWriter out;
  out.text(std::string(kLargest, 'x'));
  EXPECT_EQ(FieldReader(out.bytes()).text(), std::string(kLargest, 'x'));
  EXPECT_THROW(out.text(std::string(kLargest + 1, 'x')), std::length_error);
}

TEST(Fields, AFlagIsZeroOrOne) {
  for (int value = 0; value < 256; value++) {
    const std::byte byte{static_cast<std::uint8_t>(value)};
    FieldReader in(std::span(&byte, 1));
    EXPECT_EQ(in.flag(), value == 1);
    EXPECT_EQ(in.ended(), value <= 1) << value;
  }
  EXPECT_FALSE(FieldReader({}).flag());
}

}  // namespace
}  // namespace izo::proto
