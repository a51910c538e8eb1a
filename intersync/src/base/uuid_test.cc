// SPDX-License-Identifier: GPL-2.0
#include "base/uuid.h"

#include <gtest/gtest.h>

namespace izo {
namespace {

constexpr std::string_view kText = "01234567-89ab-cdef-0123-456789abcdef";

TEST(Uuid, ThereAndBack) {
  const std::optional<Uuid> uuid = parse_uuid(kText);
  ASSERT_TRUE(uuid);
  EXPECT_EQ(uuid->bytes[0], 0x01);
  EXPECT_EQ(uuid->bytes[15], 0xef);
  EXPECT_EQ(to_string(*uuid), kText);
  EXPECT_EQ(parse_uuid("01234567-89AB-CDEF-0123-456789ABCDEF"), uuid);
  EXPECT_EQ(uuid_of(std::string_view(reinterpret_cast<const char*>(uuid->bytes.data()), 16)), uuid);
}

TEST(Uuid, NothingElseIsOne) {
  for (std::size_t length = 0; length < kText.size(); length++) {
    EXPECT_FALSE(parse_uuid(kText.substr(0, length))) << length;
  }
  EXPECT_FALSE(parse_uuid(std::string(kText) + " "));
  for (std::size_t at = 0; at < kText.size(); at++) {
    for (const char wrong : {'g', '\0', ' ', kText[at] == '-' ? '0' : '-'}) {
      std::string text(kText);
      text[at] = wrong;
      EXPECT_FALSE(parse_uuid(text)) << text;
    }
  }
  EXPECT_FALSE(uuid_of("fifteen bytes.."));
}

TEST(Uuid, NewOnesDifferAndSayTheirVersion) {
  SystemRandom random;
  const Uuid first = make_uuid(random);
  EXPECT_NE(first, make_uuid(random));
  EXPECT_EQ(to_string(first)[14], '4');
  EXPECT_NE(std::string_view("89ab").find(to_string(first)[19]), std::string_view::npos);
}

}  // namespace
}  // namespace izo
