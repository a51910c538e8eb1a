// SPDX-License-Identifier: GPL-2.0
#include "kml/record_text.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "kml/golden.h"
#include "kml/sample_records.h"

namespace izo::kml {
namespace {

TEST(RecordText, OfTheCorpusIsAsCommitted) {
  EXPECT_EQ(differs_from_golden(IZO_TOP "/intersync/src/kml/record_text_golden.txt",
                                [](const Record& record) { return to_text(record, 1); }),
            "");
}

TEST(RecordText, IsOneLineOfPrintableCharacters) {
  SampleRecords samples(7);
  for (int i = 0; i < 2000; i++) {
    const std::string text = to_text(samples.make(), 1);
    EXPECT_TRUE(std::ranges::none_of(text, [](unsigned char c) { return c < 0x20 || c == 0x7f; }))
        << text;
  }
}

TEST(RecordText, SaysWhereAnotherReplicaMadeTheChange) {
  const Record record{.op = Op::kUnlink,
                      .origin = 3,
                      .recno = 9,
                      .origin_recno = 9,
                      .object = kRootFid,
                      .place = Place{.dir = kRootFid, .mtime = {}, .name = "n"}};
  EXPECT_NE(to_text(record, 1).find(" from=3:9"), std::string::npos);
  EXPECT_EQ(to_text(record, 3).find(" from="), std::string::npos);
}

TEST(RecordText, TimesOfAnyYear) {
  constexpr std::int64_t kLast = 253402300799;
  EXPECT_EQ(to_string(Time{0, 1}), "1970-01-01T00:00:00.000000001Z");
  EXPECT_EQ(to_string(Time{-1, 999'999'999}), "1969-12-31T23:59:59.999999999Z");
  EXPECT_EQ(to_string(Time{kLast, 0}), "9999-12-31T23:59:59.000000000Z");
  EXPECT_EQ(to_string(Time{kLast + 1, 7}), "@253402300800+000000007");
  EXPECT_EQ(to_string(Time{-62135596800, 0}), "0001-01-01T00:00:00.000000000Z");
  EXPECT_EQ(to_string(Time{std::numeric_limits<std::int64_t>::min(), 0}),
            "@-9223372036854775808+000000000");
}

TEST(RecordText, EachBitHasAName) {
  EXPECT_EQ(names_of_flags(0x7f).size(), 7U);
  EXPECT_EQ(names_of_flags(IZO_KML_RECOVERED | IZO_KML_WHOLE),
            (std::vector<std::string_view>{"whole", "recovered"}));
  EXPECT_EQ(names_of_flags(IZO_KML_XATTRS_CUT), (std::vector<std::string_view>{"xattrs-cut"}));
  EXPECT_EQ(names_of_aspects(0x3f).size(), 6U);
  EXPECT_EQ(names_of_aspects(IZO_ASPECT_BODY | IZO_ASPECT_TIMES),
            (std::vector<std::string_view>{"body", "times"}));
}

}  // namespace
}  // namespace izo::kml
