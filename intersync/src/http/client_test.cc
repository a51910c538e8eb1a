// SPDX-License-Identifier: GPL-2.0
// The client against servers that send what they like.
#include "http/client.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "http/test_peers.h"

namespace izo::http {
namespace {

using How = Outcome::How;
using std::chrono::milliseconds;

/// A client of a server that sends `answer` to any request and closes.
struct Canned {
  RawServer server;
  MainLoop loop;
  Client client;

  explicit Canned(const std::string& answer)
      : Canned([answer](const RawConnection& connection, const std::string&) {
          connection.send(answer);
        }) {}
  explicit Canned(RawServer::Script script)
      : server(std::move(script)), client(loop, server.base(), PlainHttp(), {}) {}

  Collected get(Request request = {.target = "/x"}) {
    const std::optional<Collected> collected = collect(loop, client, std::move(request));
    EXPECT_TRUE(collected);
    return collected.value_or(Collected{});
  }
};

TEST(Client, AnAnswerComesWithItsHead) {
  Canned canned("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Izo:  a b \r\n\r\nhello");
  const Collected got = canned.get();
  EXPECT_EQ(got.outcome.how, How::kComplete) << got.outcome.error;
  EXPECT_EQ(got.outcome.head.status, 200);
  EXPECT_EQ(got.outcome.head.length, 5U);
  EXPECT_EQ(*find(got.outcome.head.headers, "x-izo"), "a b");
  EXPECT_EQ(got.outcome.received, 5U);
  EXPECT_EQ(got.outcome.error, "");
  EXPECT_EQ(got.body, "hello");
  EXPECT_EQ(got.heads, 1);
}

TEST(Client, InterimHeadsAndTrailersAreNotTheHead) {
  Canned canned(
      "HTTP/1.1 100 Continue\r\nX-Interim: 1\r\n\r\n"
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
      "3\r\nabc\r\n0\r\nX-Trailer: 1\r\n\r\n");
  const Collected got = canned.get();
  EXPECT_EQ(got.outcome.how, How::kComplete) << got.outcome.error;
  EXPECT_EQ(got.body, "abc");
  EXPECT_EQ(got.heads, 1);
  EXPECT_EQ(find(got.outcome.head.headers, "X-Interim"), nullptr);
  EXPECT_EQ(find(got.outcome.head.headers, "X-Trailer"), nullptr);
}

TEST(Client, WhatIsNotWholeIsBroken) {
  const std::string whole[] = {
      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"};
  for (const std::string& answer : whole) {
    // Without the very last byte all is said.
    for (std::size_t count = 0; count < answer.size() - (answer.ends_with("\n") ? 1 : 0); count++) {
      Canned canned(answer.substr(0, count));
      const Collected got = canned.get();
      EXPECT_EQ(got.outcome.how, How::kBroken) << answer.substr(0, count);
      EXPECT_NE(got.outcome.error, "");
    }
    EXPECT_EQ(Canned(answer).get().outcome.how, How::kComplete);
  }
}

TEST(Client, GarbageIsBroken) {
  using std::string_literals::operator""s;
  for (const std::string& answer :
       {"garbage\r\n\r\n"s, "\0\0\0\0\0\0\0\0\0\0"s, "HTTP/9.9 200 OK\r\n\r\nx"s,
        "HTTP/1.1 banana\r\n\r\n"s, "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello"s,
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\nhello"s,
        "HTTP/1.1 200 OK\r\n\r\nof any length"s,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"s,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nx"s,
        "HTTP/1.1 200 OK\r\nno colon\r\nContent-Length: 0\r\n\r\n"s,
        "HTTP/1.1 200 OK\r\n folded\r\nContent-Length: 0\r\n\r\n"s,
        "HTTP/1.1 200 OK\r\nA\x01B: x\r\nContent-Length: 0\r\n\r\n"s, "SSH-2.0-OpenSSH_9.2\r\n"s}) {
    Canned canned(answer);
    const Collected got = canned.get();
    EXPECT_EQ(got.outcome.how, How::kBroken) << answer << got.outcome.error;
  }
}

TEST(Client, AnEndlessHeadIsCutOff) {
  const auto endless = [](const RawConnection& connection, const std::string&) {
    connection.send("HTTP/1.1 200 OK\r\n");
    while (connection.send("X-More: " + std::string(1000, 'x') + "\r\n")) {
    }
  };
  Canned canned(endless);
  EXPECT_EQ(canned.get().outcome.how, How::kTooLong);
  Canned fields([](const RawConnection& connection, const std::string&) {
    connection.send("HTTP/1.1 200 OK\r\n");
    while (connection.send("X: y\r\n")) {
    }
  });
  EXPECT_EQ(fields.get().outcome.how, How::kTooLong);
}

TEST(Client, ABodyThatIsTooLongIsCutOff) {
  Canned said("HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n" + std::string(101, 'x'));
  const Collected first = said.get({.target = "/x", .longest_answer = 100});
  EXPECT_EQ(first.outcome.how, How::kTooLong);
  EXPECT_EQ(first.heads, 0);
  Canned unsaid([](const RawConnection& connection, const std::string&) {
    connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    while (connection.send("3e8\r\n" + std::string(1000, 'x') + "\r\n")) {
    }
  });
  const Collected second = unsaid.get({.target = "/x", .longest_answer = 100000});
  EXPECT_EQ(second.outcome.how, How::kTooLong);
  EXPECT_LE(second.body.size(), 100000U);
  Canned just("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + std::string(100, 'x'));
  EXPECT_EQ(just.get({.target = "/x", .longest_answer = 100}).outcome.how, How::kComplete);
}

TEST(Client, SilenceIsTimedOutBeforeAndInTheBody) {
  for (const char* start :
       {"", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"}) {
    Canned canned([start](const RawConnection& connection, const std::string&) {
      connection.send(start);
      static_cast<void>(connection.read_all());  // until the client gives up
    });
    const Collected got = canned.get({.target = "/x", .patience = milliseconds(50)});
    EXPECT_EQ(got.outcome.how, How::kTimedOut) << start;
    EXPECT_NE(got.outcome.error.find("/x: no byte for 50 ms"), std::string::npos)
        << got.outcome.error;
  }
}

TEST(Client, SlowIsNotSilent) {
  Canned canned([](const RawConnection& connection, const std::string&) {
    connection.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n");
    for (int i = 0; i < 10; i++) {
      std::this_thread::sleep_for(milliseconds(60));  // slowness itself is what is tested
      connection.send("x");
    }
  });
  const Collected got = canned.get({.target = "/x", .patience = milliseconds(400)});
  EXPECT_EQ(got.outcome.how, How::kComplete) << got.outcome.error;
}

TEST(Client, NobodyThereIsUnreachable) {
  MainLoop loop;
  std::string base;
  {
    const RawServer server([](const RawConnection&, const std::string&) {});
    base = server.base();
  }
  Client client(loop, base, PlainHttp(), {});
  const std::optional<Collected> got = collect(loop, client, {.target = "/x"});
  ASSERT_TRUE(got);
  EXPECT_EQ(got->outcome.how, How::kUnreachable);
  EXPECT_NE(got->outcome.error.find("GET " + base + "/x: "), std::string::npos);
  Client nowhere(loop, "http://no-such-host.invalid", PlainHttp(), {});
  EXPECT_EQ(collect(loop, nowhere, {.target = "/x"})->outcome.how, How::kUnreachable);
}

TEST(Client, ARedirectIsNotFollowed) {
  Canned canned("HTTP/1.1 302 Found\r\nLocation: /y\r\nContent-Length: 0\r\n\r\n");
  const Collected got = canned.get();
  EXPECT_EQ(got.outcome.how, How::kComplete);
  EXPECT_EQ(got.outcome.head.status, 302);
  EXPECT_EQ(canned.server.accepted(), 1);
}

TEST(Client, WhatIsSentIsWhatWasAskedFor) {
  std::string head;
  std::string body;
  Canned canned([&](const RawConnection& connection, const std::string& text) {
    head = text;
    body = connection.read_until("{end}");
    connection.send("HTTP/1.1 204 No Content\r\n\r\n");
  });
  const Collected got = canned.get({.method = Method::kPost,
                                    .target = "/izo/v1/reint?seq=7",
                                    .headers = {{"X-Izo", "a"}, {"X-Empty", ""}},
                                    .body = bytes_of("bytes{end}")});
  EXPECT_EQ(got.outcome.head.status, 204) << got.outcome.error;
  EXPECT_EQ(body, "bytes{end}");
  EXPECT_TRUE(head.starts_with("POST /izo/v1/reint?seq=7 HTTP/1.1\r\n")) << head;
  for (const char* line : {"\r\nX-Izo: a\r\n", "\r\nX-Empty:\r\n", "\r\nContent-Length: 10\r\n",
                           "\r\nContent-Type: application/octet-stream\r\n"}) {
    EXPECT_NE(head.find(line), std::string::npos) << line << head;
  }
  EXPECT_EQ(head.find("Expect"), std::string::npos);
}

TEST(Client, WhatCannotBeSentIsRefused) {
  MainLoop loop;
  Client client(loop, "http://127.0.0.1:1", PlainHttp(), {});
  const auto refused = [&](Request request) {
    EXPECT_THROW(static_cast<void>(client.start(std::move(request), {})), Error);
  };
  refused({.target = "/x\r\nHost: y"});
  refused({.target = "http://elsewhere/x"});
  refused({.target = "/../x"});
  refused({.target = "/x", .headers = {{"X", "a\r\nY: b"}}});
  refused({.target = "/x", .body = bytes_of("body of a GET")});
  refused({.method = Method::kPost,
           .target = "/x",
           .body = std::vector<std::byte>(kMaxRequestBody + 1)});
}

TEST(Client, PlainHttpMustBeAskedForByName) {
  MainLoop loop;
  for (const char* base : {"http://host:80", "host", "https://", "https://user@host", "https://h/p",
                           "file:///etc", "https://h?x", "HTTPS://h"}) {
    EXPECT_THROW(Client(loop, base, TlsConfig{"c", "k", "a"}, {}), Error) << base;
  }
  for (const char* base : {"https://host", "http://", "http://h/", "http://h x"}) {
    EXPECT_THROW(Client(loop, base, PlainHttp(), {}), Error) << base;
  }
}

TEST(Client, TheReceiverEndsIt) {
  const std::string answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
  Canned canned(answer);
  for (const bool at_head : {true, false}) {
    std::optional<Outcome> outcome;
    const Client::Transfer transfer =
        canned.client.start({.target = "/x"}, {.head = [&](const AnswerHead&) { return !at_head; },
                                               .data = [&](Bytes) { return false; },
                                               .done = [&](const Outcome& how) { outcome = how; }});
    ASSERT_TRUE(canned.loop.run_until([&] { return outcome.has_value(); }, kLimit));
    EXPECT_EQ(outcome->how, How::kRefused);
    EXPECT_EQ(outcome->head.status, 200);
    EXPECT_FALSE(transfer.active());
  }
}

TEST(Client, AReceiverThatThrowsEndsTheRequest) {
  Canned canned("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
  std::optional<Outcome> outcome;
  const Client::Transfer transfer = canned.client.start(
      {.target = "/x"}, {.data = [](Bytes) -> bool { throw Error("disk full"); },
                         .done = [&](const Outcome& how) { outcome = how; }});
  EXPECT_THROW(canned.loop.run(), Error);
  EXPECT_TRUE(canned.loop.run_until([&] { return outcome.has_value(); }, kLimit));
  EXPECT_EQ(outcome->how, How::kBroken);
}

}  // namespace
}  // namespace izo::http
