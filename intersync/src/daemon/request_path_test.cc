// SPDX-License-Identifier: GPL-2.0
#include "daemon/request_path.h"

#include <gtest/gtest.h>

namespace izo::daemon {
namespace {

using http::Method;
using Path = std::vector<std::string>;

/// Why there is no such thing at a server of the fileset "home"; empty: there is.
std::string why_not(const Path& path, Method method = Method::kPost) {
  const Asked asked = asked_for(method, path, "home");
  const auto* not_here = std::get_if<NotHere>(&asked);
  return not_here != nullptr ? not_here->why : "";
}

TEST(RequestPath, WhatAClientAsksForIsUnderstood) {
  for (const proto::Kind kind : {proto::Kind::kHello, proto::Kind::kPull, proto::Kind::kList,
                                 proto::Kind::kDescribe, proto::Kind::kFetch, proto::Kind::kPush}) {
    const Path path = path_to("home", std::string(name_of(kind)));
    EXPECT_EQ(asked_for(Method::kPost, path, "home"), Asked(kind)) << name_of(kind);
  }
  EXPECT_EQ(asked_for(Method::kPost, path_to("home", kUpload), "home"), Asked(PieceOfBody{}));
  EXPECT_EQ(path_to("home", "hello"), (Path{"izo", "v1", "home", "hello"}));
}

TEST(RequestPath, AnotherVersionIsToldWhichIsSpokenAndWhichWasAskedFor) {
  for (const Path& path : {Path{"izo", "v2", "home", "hello"}, Path{"izo", "v2", "else", "hello"},
                           Path{"izo", "v2"}, Path{"izo", "v2", "a", "b", "c"}}) {
    for (const Method method : {Method::kPost, Method::kGet}) {
      EXPECT_EQ(why_not(path, method),
                "this server speaks version 1 of the protocol, not version 2 as was asked for: "
                "install the InterMezzo of one release on both sides");
    }
  }
  EXPECT_NE(why_not({"izo", "v10", "home", "hello"}).find("not version 10 as"), std::string::npos);
}

TEST(RequestPath, WhatIsNoVersionIsNotTakenForOne) {
  for (const Path& path :
       {Path{"x"}, Path{"izo"}, Path{"izo", "v1"}, Path{"izo", "v", "home", "hello"},
        Path{"izo", "v2x", "home", "hello"}, Path{"izo", "2", "home", "hello"},
        Path{"x", "v2", "home", "hello"}, Path{"izo", "v1", "home", "hello", "x"}}) {
    EXPECT_EQ(why_not(path), "this is intersync; there is nothing here but /izo/v1/FILESET/");
  }
}

TEST(RequestPath, AnotherFilesetIsToldWhichIsHere) {
  EXPECT_EQ(why_not({"izo", "v1", "else", "hello"}),
            "this server has the fileset home, not else: mount the client with fileset=home");
}

TEST(RequestPath, NothingElseIsAnswered) {
  EXPECT_EQ(why_not(path_to("home", "nothing")), "no such request");
  EXPECT_EQ(why_not(path_to("home", "hello"), Method::kGet), "no such request");
  EXPECT_EQ(why_not(path_to("home", kUpload), Method::kGet), "no such request");
}

}  // namespace
}  // namespace izo::daemon
