// SPDX-License-Identifier: GPL-2.0
#include "kml/tables.h"

#include <gtest/gtest.h>

namespace izo::kml {
namespace {

using Buffer = std::vector<std::byte>;

Uuid sample_uuid(std::uint8_t first) {
  Uuid out{};
  for (std::size_t i = 0; i < out.size(); i++) {
    out[i] = static_cast<std::uint8_t>(first + i);
  }
  return out;
}

Replicas sample_replicas() {
  return {.fileset = sample_uuid(1),
          .self = 2,
          .members = {sample_uuid(50), sample_uuid(100), sample_uuid(150)}};
}

TEST(Uuid, ThereAndBack) {
  EXPECT_EQ(to_string(sample_uuid(0xa0)), "a0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf");
  EXPECT_EQ(uuid_from("a0a1a2a3-A4A5-a6a7-a8a9-aaabacadaeaf"), sample_uuid(0xa0));
  for (const std::string_view bad :
       {"", "a0a1a2a3-a4a5-a6a7-a8a9-aaabacadaea", "a0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeag",
        "a0a1a2a3xa4a5-a6a7-a8a9-aaabacadaeaf", "a0a1a2a3--4a5-a6a7-a8a9-aaabacadaeaf"}) {
    EXPECT_FALSE(uuid_from(bad)) << bad;
  }
}

/// Bytes of the sample that say something; zeros follow.
constexpr std::size_t kUsed = sizeof(izo_replicas) + 3 * sizeof(izo_replica);

TEST(Replicas, ThereAndBack) {
  const Buffer bytes = encode(sample_replicas());
  EXPECT_EQ(bytes.size(), 16384U);
  EXPECT_EQ(decode_replicas(bytes), DecodedReplicas(sample_replicas()));
  EXPECT_EQ(decode_replicas(Bytes(bytes).first(kUsed)), DecodedReplicas(sample_replicas()));
}

TEST(Replicas, ATableOfManyIsLarger) {
  Replicas many = sample_replicas();
  many.members.resize(600, sample_uuid(7));
  const Buffer bytes = encode(many);
  EXPECT_EQ(bytes.size(), 32768U);
  EXPECT_EQ(decode_replicas(bytes), DecodedReplicas(many));
}

TEST(Replicas, DamageIsSeen) {
  Buffer bytes = encode(sample_replicas());
  bytes.resize(kUsed);
  for (std::size_t count = 0; count < bytes.size(); count++) {
    EXPECT_TRUE(std::holds_alternative<Corrupt>(decode_replicas(Bytes(bytes).first(count))));
  }
  for (std::byte& byte : bytes) {
    byte ^= std::byte{4};
    EXPECT_TRUE(std::holds_alternative<Corrupt>(decode_replicas(bytes))) << &byte - bytes.data();
    byte ^= std::byte{4};
  }
}

TEST(Base, ThereAndBack) {
  const Base base = {
      {}, {}, {.generation = 0xabcdef01, .replica = 1}, {.generation = 0, .replica = 7}};
  Buffer bytes = encode(base);
  EXPECT_EQ(decode_base(bytes), DecodedBase(base));
  EXPECT_EQ(decode_base(encode(Base{})), DecodedBase(Base{}));
  for (std::size_t count = 0; count < bytes.size(); count++) {
    EXPECT_TRUE(std::holds_alternative<Corrupt>(decode_base(Bytes(bytes).first(count))));
  }
  for (std::byte& byte : bytes) {
    byte ^= std::byte{4};
    EXPECT_TRUE(std::holds_alternative<Corrupt>(decode_base(bytes))) << &byte - bytes.data();
    byte ^= std::byte{4};
  }
}

}  // namespace
}  // namespace izo::kml
