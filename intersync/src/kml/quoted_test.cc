// SPDX-License-Identifier: GPL-2.0
#include "kml/quoted.h"

#include <gtest/gtest.h>

namespace izo::kml {
namespace {

TEST(Quoted, WordsStayAsTheyAre) {
  for (const char* word : {"a", "name.txt", "-rf", "ümläut", "日本", "\xf0\x9f\x98\x80", "a:b"}) {
    EXPECT_EQ(quoted(word), word);
  }
}

TEST(Quoted, WhatIsNoWordIsInQuotes) {
  EXPECT_EQ(quoted(""), R"("")");
  EXPECT_EQ(quoted("My documents"), R"("My documents")");
  EXPECT_EQ(quoted(R"(a"b\c)"), R"("a\"b\\c")");
  EXPECT_EQ(quoted("a=b"), R"("a=b")");
}

TEST(Quoted, NothingReachesATerminal) {
  EXPECT_EQ(quoted("\x1b[2J\n\t\x7f"), R"("\x1b[2J\x0a\x09\x7f")");
  EXPECT_EQ(quoted("\xc2\x9b"
                   "31m"),
            R"("\xc2\x9b31m")");  // CSI as one character
  EXPECT_EQ(quoted("a\xe2\x80\xae"
                   "b"),
            R"("a\xe2\x80\xaeb")");  // right-to-left override
  EXPECT_EQ(quoted(std::string_view("a\0b", 3)), R"("a\x00b")");
}

TEST(Quoted, WhatIsNotUtf8IsShownByByte) {
  for (const std::string_view bytes :
       {"\xff", "\x80", "\xc0\xaf", "\xc3", "\xe2\x82", "\xe0\x80\xaf", "\xed\xa0\x80",
        "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80", "\xc3("}) {
    EXPECT_FALSE(is_utf8(bytes)) << hex(bytes);
    EXPECT_NE(quoted(bytes).find("\\x" + hex(bytes.substr(0, 1))), std::string::npos) << hex(bytes);
  }
  EXPECT_EQ(quoted("\xff"
                   "a"),
            R"("\xffa")");
  for (const std::string_view text : {"", "a", "\x7f", "ü", "\xef\xbf\xbd", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_TRUE(is_utf8(text)) << hex(text);
  }
}

}  // namespace
}  // namespace izo::kml
