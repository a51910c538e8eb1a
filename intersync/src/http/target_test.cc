// SPDX-License-Identifier: GPL-2.0
#include "http/target.h"

#include <gtest/gtest.h>

namespace izo::http {
namespace {

using std::string_literals::operator""s;

TEST(Target, PathAndQueryAreDecoded) {
  EXPECT_EQ(parse_target("/izo/v1/log?from=7&wait=25"),
            (Target{{"izo", "v1", "log"}, {{"from", "7"}, {"wait", "25"}}}));
  EXPECT_EQ(parse_target("/a%20b/%C3%A9?k%3D=v%26=&e="),
            (Target{{"a b", "\u00e9"}, {{"k=", "v&="}, {"e", ""}}}));
  EXPECT_EQ(parse_target("/a?flag"), (Target{{"a"}, {{"flag", ""}}}));
  const Target target = *parse_target("/a?one=1&two=2");
  EXPECT_EQ(*target.value("two"), "2");
  EXPECT_EQ(target.value("three"), nullptr);
}

TEST(Target, WhatCouldNameAFileElsewhereIsRefused) {
  for (const std::string& text : {""s,
                                  "/"s,
                                  "//"s,
                                  "/a//b"s,
                                  "/."s,
                                  "/a/../b"s,
                                  "/a/%2e%2e/b"s,
                                  "/a/.%2E"s,
                                  "/a%2fb"s,
                                  "/a/%00"s,
                                  "/a\0b"s,
                                  "a"s,
                                  "*"s,
                                  "http://host/a"s,
                                  "/a%"s,
                                  "/a%2"s,
                                  "/a%zz"s,
                                  "/a b"s,
                                  "/a\nb"s,
                                  "/a%0ab"s,
                                  "/a%7f"s,
                                  "/\xc3\xa9"s,
                                  "/a#b"s,
                                  "/a/"s,
                                  "/a?k=1&"s,
                                  "/a?"s,
                                  "/a?&"s,
                                  "/a?=v"s,
                                  "/a?k=1&k=2"s,
                                  "/a?k=%"s,
                                  "/a?k=1&&l=2"s,
                                  "/"s + std::string(kMaxTarget, 'a')}) {
    EXPECT_FALSE(parse_target(text)) << text;
  }
}

TEST(Target, PartsAreCounted) {
  std::string path;
  std::string query;
  for (std::size_t i = 0; i < kMaxParts; i++) {
    path += "/a";
    query += (query.empty() ? "?k" : "&k") + std::to_string(i) + "=";
  }
  EXPECT_TRUE(parse_target(path + query));
  EXPECT_FALSE(parse_target(path + "/a"));
  EXPECT_FALSE(parse_target(path + query + "&more="));
}

TEST(Target, ATextMeansItsTarget) {
  std::string all;
  for (int byte = 0x20; byte < 0x100; byte++) {
    if (byte != 0x7f && byte != '/') {
      all += static_cast<char>(byte);
    }
  }
  const Target target{{"izo", all}, {{all, all}, {"empty", ""}}};
  EXPECT_EQ(parse_target(to_string(target)), target) << to_string(target);
}

TEST(Target, EveryByteAnywhereIsJudgedAlike) {
  const std::string text = "/izo/v1%41/log?from=7&to=%42";
  for (std::size_t at = 0; at < text.size(); at++) {
    for (int byte = 0; byte < 256; byte++) {
      std::string changed = text;
      changed[at] = static_cast<char>(byte);
      const std::optional<Target> target = parse_target(changed);
      if (target) {
        EXPECT_EQ(parse_target(to_string(*target)), target) << changed;
      }
    }
  }
}

}  // namespace
}  // namespace izo::http
