// SPDX-License-Identifier: GPL-2.0
#include "kml/codec.h"

#include <gtest/gtest.h>

#include <array>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "kml/sample_records.h"

namespace izo::kml {
namespace {

using Buffer = std::vector<std::byte>;

Bytes first(const Buffer& bytes, std::size_t count) {
  return Bytes(bytes).first(count);
}

// RFC 3720, B.4. The field that is taken as zero lies where the bytes are zero anyway.
TEST(Crc32c, VectorsOfRfc3720) {
  EXPECT_EQ(crc32c_without(Buffer(32), 0), 0x8a9136aaU);
  constexpr std::array<unsigned char, 48> kReadCommand = {
      0x01, 0xc0, 0, 0,    0, 0, 0, 0,    0,    0, 0, 0, 0, 0, 0, 0, 0x14, 0, 0, 0, 0, 0, 0x04, 0,
      0,    0,    0, 0x14, 0, 0, 0, 0x18, 0x28, 0, 0, 0, 0, 0, 0, 0, 0x02, 0, 0, 0, 0, 0, 0,    0};
  EXPECT_EQ(crc32c_without(std::as_bytes(std::span(kReadCommand)), 2), 0xd9963a56U);
}

class EachOp : public testing::TestWithParam<Op> {};

INSTANTIATE_TEST_SUITE_P(Codec, EachOp, testing::ValuesIn(kOps),
                         [](const auto& op) { return std::string(name_of(op.param)); });

TEST_P(EachOp, ComesBackAsItWas) {
  SampleRecords samples(1);
  for (int i = 0; i < 500; i++) {
    Record record = samples.make(GetParam());
    const Buffer bytes = encode(record);
    record.length = static_cast<std::uint32_t>(bytes.size());
    ASSERT_EQ(bytes.size() % 8, 0U);
    const Decoded decoded = decode(bytes);
    ASSERT_TRUE(std::holds_alternative<Record>(decoded))
        << i << ": "
        << (std::holds_alternative<Corrupt>(decoded) ? std::get<Corrupt>(decoded).what : "");
    ASSERT_EQ(std::get<Record>(decoded), record) << i;
  }
}

TEST_P(EachOp, TakesWhatFollowsForNothing) {
  SampleRecords samples(2);
  Record record = samples.make(GetParam());
  Buffer bytes = encode(record);
  record.length = static_cast<std::uint32_t>(bytes.size());
  bytes.resize(bytes.size() + 100, std::byte{0xee});
  EXPECT_EQ(decode(bytes), Decoded(record));
}

TEST_P(EachOp, EveryBeginningNeedsMore) {
  SampleRecords samples(3);
  for (int i = 0; i < 5; i++) {
    const Buffer bytes = encode(samples.make(GetParam()));
    for (std::size_t count = 0; count < bytes.size(); count++) {
      const Decoded decoded = decode(first(bytes, count));
      ASSERT_TRUE(std::holds_alternative<NeedMore>(decoded)) << count << " of " << bytes.size();
      const std::size_t at_least = std::get<NeedMore>(decoded).at_least;
      ASSERT_GT(at_least, count);
      ASSERT_LE(at_least, bytes.size());
    }
  }
}

TEST_P(EachOp, EveryFlippedByteIsRefused) {
  SampleRecords samples(4);
  for (int i = 0; i < 3; i++) {
    Buffer bytes = encode(samples.make(GetParam()));
    for (std::byte& byte : bytes) {
      for (const int flip : {0x01, 0x80, 0xff}) {
        byte ^= static_cast<std::byte>(flip);
        // A length that became larger asks for bytes that never come.
        const Decoded decoded = decode(bytes);
        ASSERT_FALSE(std::holds_alternative<Record>(decoded)) << &byte - bytes.data();
        ASSERT_FALSE(std::holds_alternative<Filler>(decoded)) << &byte - bytes.data();
        byte ^= static_cast<std::byte>(flip);
      }
    }
  }
}

TEST_P(EachOp, CanBePadded) {
  SampleRecords samples(5);
  Record record = samples.make(GetParam());
  const auto least = static_cast<std::uint32_t>(encode(record).size());
  for (std::uint32_t pad = 8; pad < IZO_KML_FILLER_MIN; pad += 8) {
    record.length = least + pad;
    const Buffer bytes = encode(record);
    ASSERT_EQ(bytes.size(), record.length);
    ASSERT_EQ(decode(bytes), Decoded(record));
  }
  for (const std::uint32_t length : {least - 8, least + 4, least + IZO_KML_FILLER_MIN}) {
    record.length = length;
    EXPECT_THROW(encode(record), std::length_error) << length;
  }
}

TEST(Codec, RecordsHaveALargestSize) {
  SampleRecords samples(6);
  Record record = samples.make(Op::kSetxattr);
  record.xattrs.front().value.assign(IZO_KML_RECORD_MAX, 'x');
  EXPECT_THROW(encode(record), std::length_error);
}

TEST(Codec, Fillers) {
  for (const std::uint32_t length : {IZO_KML_FILLER_MIN + 0U, 48U, 4096U, 65536U}) {
    const Filler filler{.length = length, .offset = 1234567, .epoch = 89};
    const Buffer bytes = encode(filler);
    ASSERT_EQ(bytes.size(), length);
    EXPECT_EQ(decode(bytes), Decoded(filler));
    for (std::size_t count = 0; count < length; count++) {
      ASSERT_TRUE(std::holds_alternative<NeedMore>(decode(first(bytes, count)))) << count;
    }
  }
  for (const std::uint32_t length : {0U, 32U, 44U, (128U << 10) + 8}) {
    EXPECT_THROW(encode(Filler{.length = length}), std::length_error) << length;
  }
}

TEST(Codec, OfAFillerHeadAndTailCountOnly) {
  for (const std::uint32_t length : {IZO_KML_FILLER_MIN + 0U, 48U, 4096U, 65536U}) {
    const Filler filler{.length = length, .offset = 1234567, .epoch = 89};
    Buffer bytes = encode(filler);
    for (std::size_t at = 0; at < length; at++) {
      const bool counts = at < IZO_KML_FILLER_HEAD || at >= length - sizeof(izo_kml_tail);
      for (const int flip : {0x01, 0x80, 0xff}) {
        bytes[at] ^= static_cast<std::byte>(flip);
        const Decoded decoded = decode(bytes);
        ASSERT_FALSE(std::holds_alternative<Record>(decoded)) << at;
        if (counts) {
          ASSERT_FALSE(std::holds_alternative<Filler>(decoded)) << at << " of " << length;
        } else {
          ASSERT_EQ(decoded, Decoded(filler)) << at << " of " << length;
        }
        bytes[at] ^= static_cast<std::byte>(flip);
      }
    }
  }
}

Header sample_header() {
  return {.fileset = "0123456789abcdef",
          .replica = std::string(16, '\xff'),
          .self = 7,
          .block_size = 4096,
          .flags = IZO_KML_H_OVERFLOW,
          .epoch = 0x1122334455667788,
          .first = 120,
          .first_recno = 1};
}

TEST(Codec, HeaderComesBackAsItWas) {
  const Header header = sample_header();
  Buffer bytes = encode(header);
  ASSERT_EQ(bytes.size(), sizeof(izo_kml_header));
  EXPECT_EQ(decode_header(bytes), DecodedHeader(header));
  for (std::size_t count = 0; count < bytes.size(); count++) {
    EXPECT_TRUE(std::holds_alternative<NeedMore>(decode_header(first(bytes, count))));
  }
  for (std::byte& byte : bytes) {
    byte ^= std::byte{0x10};
    EXPECT_TRUE(std::holds_alternative<Corrupt>(decode_header(bytes))) << &byte - bytes.data();
    byte ^= std::byte{0x10};
  }
}

TEST(Codec, HeaderOfAnotherVersionIsNamed) {
  Buffer bytes = encode(sample_header());
  bytes[offsetof(izo_kml_header, version)] = std::byte{9};
  const DecodedHeader decoded = decode_header(bytes);
  ASSERT_TRUE(std::holds_alternative<Corrupt>(decoded));
  EXPECT_EQ(std::get<Corrupt>(decoded).what, "version 9 of the log's format; this program knows 1");
}

/// The dump in docs/kml-format.md between its marks: lines of an offset and bytes.
Buffer example_of_the_format() {
  const std::ifstream page(IZO_TOP "/docs/kml-format.md");
  std::stringstream text;
  text << page.rdbuf();
  const std::string all = text.str();
  const std::size_t begin = all.find("<!-- example -->");
  const std::size_t end = all.find("<!-- end -->");
  std::istringstream lines(all.substr(begin + 16, end - begin - 16));
  Buffer out;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string word;
    words >> word;
    while (words >> word) {
      for (std::size_t i = 0; i + 1 < word.size(); i += 2) {
        out.push_back(static_cast<std::byte>(std::stoul(word.substr(i, 2), nullptr, 16)));
      }
    }
  }
  return out;
}

TEST(Codec, ExampleInTheDocumentation) {
  const Buffer bytes = example_of_the_format();
  ASSERT_EQ(bytes.size(), 248U);
  const Decoded decoded = decode(bytes);
  ASSERT_TRUE(std::holds_alternative<Record>(decoded));
  const Record& record = std::get<Record>(decoded);
  constexpr Time kTime{.seconds = 1795513769, .nanoseconds = 5};
  EXPECT_EQ(record.op, Op::kMkdir);
  EXPECT_EQ(record.offset, 120U);
  EXPECT_EQ(record.recno, 1U);
  EXPECT_EQ(record.object, (Fid{.replica = 1, .ino = 1234, .generation = 0xabcd0001}));
  EXPECT_EQ(record.place, (Place{.dir = kRootFid, .mtime = kTime, .name = "docs"}));
  ASSERT_TRUE(record.attr);
  EXPECT_EQ(record.attr->mode, 040750U);
  EXPECT_EQ(record.attr->ctime, kTime);
  EXPECT_EQ(encode(record), bytes);
}

}  // namespace
}  // namespace izo::kml
