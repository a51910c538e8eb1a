// SPDX-License-Identifier: GPL-2.0
#include "http/range.h"

#include <gtest/gtest.h>

#include <limits>

#include "http/message.h"

namespace izo::http {
namespace {

constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();

TEST(Range, IsReadAndWritten) {
  EXPECT_EQ(parse_range("bytes=0-99"), (ByteRange{0, 99}));
  EXPECT_EQ(parse_range("bytes=100-"), (ByteRange{100, std::nullopt}));
  EXPECT_EQ(parse_range("bytes=18446744073709551615-"), (ByteRange{kMost, std::nullopt}));
  EXPECT_EQ(to_string(ByteRange{0, 99}), "0-99");
  EXPECT_EQ(to_string(ByteRange{100, std::nullopt}), "100-");
}

TEST(Range, OtherFormsAreNotUnderstood) {
  for (const char* text :
       {"", "bytes", "bytes=", "bytes=-", "bytes=-5", "bytes=5", "bytes=5-4", "bytes=0-1,3-4",
        "bytes= 0-1", "bytes=0-1 ", "bytes=+1-2", "bytes=0x1-2", "bytes=18446744073709551616-",
        "bytes=0-18446744073709551616", "lines=0-1", "BYTES=0-1"}) {
    EXPECT_FALSE(parse_range(text)) << text;
  }
}

TEST(Range, IsCutAtTheEndOfTheBody) {
  EXPECT_EQ(part_of({0, 99}, 100), (Part{0, 100}));
  EXPECT_EQ(part_of({0, kMost}, 100), (Part{0, 100}));
  EXPECT_EQ(part_of({99, std::nullopt}, 100), (Part{99, 1}));
  EXPECT_EQ(part_of({10, 19}, 100), (Part{10, 10}));
  EXPECT_FALSE(part_of({100, std::nullopt}, 100));
  EXPECT_FALSE(part_of({0, std::nullopt}, 0));
  EXPECT_EQ(part_of({0, kMost}, kMost), (Part{0, kMost}));
}

TEST(ContentRange, IsReadAndWritten) {
  EXPECT_EQ(parse_content_range("bytes 10-19/100"), (ContentRange{10, 19, 100}));
  EXPECT_EQ(parse_content_range("bytes 10-19/*"), (ContentRange{10, 19, std::nullopt}));
  EXPECT_EQ(content_range({10, 10}, 100), "bytes 10-19/100");
  for (const char* text : {"", "bytes", "bytes */100", "bytes 10-9/100", "bytes 10-19/19",
                           "bytes 10-19", "bytes 10-19/", "bytes 10-19/100 ", "bytes 10-19/x",
                           "bytes=10-19/100", "bytes 0-18446744073709551615/*"}) {
    EXPECT_FALSE(parse_content_range(text)) << text;
  }
}

TEST(Header, IsFoundInAnyCase) {
  const Headers headers = {{"Content-Length", "1"}, {"ETag", "a"}, {"etag", "b"}};
  EXPECT_EQ(*find(headers, "content-LENGTH"), "1");
  EXPECT_EQ(*find(headers, "etag"), "a");
  EXPECT_EQ(find(headers, "eta"), nullptr);
  EXPECT_EQ(find(headers, "etags"), nullptr);
}

TEST(Header, NothingInItEndsTheLine) {
  EXPECT_TRUE(is_valid({"X-Izo", "a b\tc \xc3\xa9"}));
  EXPECT_TRUE(is_valid({"X", ""}));
  for (const char* value : {"a\r\nb", "a\n", "\r", "\x7f", "\x01"}) {
    EXPECT_FALSE(is_valid({"X", value})) << value;
  }
  EXPECT_FALSE(is_valid({"X", std::string(1, '\0')}));
  for (const char* name : {"", "a b", "a:", "a\n", "\xc3\xa9", "a/b"}) {
    EXPECT_FALSE(is_valid({name, "v"})) << name;
  }
}

}  // namespace
}  // namespace izo::http
