// SPDX-License-Identifier: GPL-2.0
// The server against clients that send what they like.
#include "http/server.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include "base/error.h"
#include "http/test_peers.h"

namespace izo::http {
namespace {

/// What the server sends back to these bytes, until it closes.
std::string talk(TestPair& pair, const std::string& text) {
  std::string answer;
  EXPECT_TRUE(pair.during([&] {
    const RawConnection connection(pair.server.port());
    connection.send(text);
    answer = connection.read_all();
  }));
  return answer;
}

std::string status_of(const std::string& answer) {
  return answer.starts_with("HTTP/1.1 ") ? answer.substr(9, 3) : "none";
}

std::string get(const std::string& target, const std::string& more = "Connection: close\r\n") {
  return "GET " + target + " HTTP/1.1\r\nHost: x\r\n" + more + "\r\n";
}

TEST(Server, OnlyRequestsWithinTheRulesReachTheLoop) {
  using std::string_literals::operator""s;
  int reached = 0;
  TestPair pair(
      [&](Exchange exchange) {
        reached++;
        exchange.answer(text_answer("yes"));
      },
      {.head_limit = std::chrono::seconds(1)});
  struct Row {
    std::string text;
    std::string status;
  };
  const std::string host = " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
  const Row refused[] = {
      {"GET /a/../b" + host + "\r\n", "400"},
      {"GET /a/%2e%2e/b" + host + "\r\n", "400"},
      {"GET /a%00b" + host + "\r\n", "400"},
      {"GET /a?k=1&k=2" + host + "\r\n", "400"},
      {"GET http://x/a" + host + "\r\n", "400"},
      {"GET *" + host + "\r\n", "400"},
      {"GET /" + std::string(5000, 'a') + host + "\r\n", "400"},
      {"HEAD /a" + host + "\r\n", "405"},
      {"PUT /a" + host + "Content-Length: 0\r\n\r\n", "405"},
      {"DELETE /a" + host + "\r\n", "405"},
      {"BREW /a" + host + "\r\n", "405"},
      {"GET /a HTTP/1.0\r\nHost: x\r\n\r\n", "505"},
      {"GET /a HTTP/1.1\r\nConnection: close\r\n\r\n", "400"},
      {"POST /a" + host + "Content-Length: 4194305\r\n\r\n", "413"},
      {"POST /a" + host + "Content-Length: 99999999999999\r\n\r\n", "413"},
      {"POST /a" + host + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "411"},
      {"POST /a" + host + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nxy", "400"},
      {"GET /a" + host + "Content-Length: 1\r\n\r\nx", "400"},
      {"GET /a" + host + "X: " + std::string(40000, 'x') + "\r\n\r\n", "431"},
      {"GET /a" + host +
           [] {
             std::string many;
             for (int i = 0; i < 150; i++) {
               many += "X: y\r\n";
             }
             return many;
           }() +
           "\r\n",
       "431"},
  };
  for (const Row& row : refused) {
    EXPECT_EQ(status_of(talk(pair, row.text)), row.status) << row.text.substr(0, 200);
  }
  // These are not worth an answer with a status of ours, but must not reach the loop.
  for (const std::string& text :
       {"garbage\r\n\r\n"s, "\0\0\0\0\0\0\0\0\r\n\r\n"s, "GET /a\r\n\r\n"s, "GET\r\n\r\n"s,
        "POST /a" + host + "Content-Length: -1\r\n\r\n",
        "POST /a" + host + "Content-Length: x\r\n\r\n",
        // 411 by us, 400 by libmicrohttpd 1.0
        "POST /a" + host + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"s}) {
    EXPECT_NE(status_of(talk(pair, text)), "200") << text;
  }
  EXPECT_EQ(reached, 0);
  EXPECT_EQ(pair.server.counters().requests, 0U);
  EXPECT_GE(pair.server.counters().refused, 16U);
  EXPECT_EQ(status_of(talk(pair, get("/a"))), "200");
  EXPECT_EQ(reached, 1);
}

TEST(Server, ARequestComesAsItWasSent) {
  std::optional<Incoming> seen;
  TestPair pair([&](Exchange exchange) {
    seen = exchange.request();
    exchange.answer({.status = 201, .headers = {{"X-Izo", "b"}}, .body = bytes_of("made")});
  });
  const std::string answer = talk(pair,
                                  "POST /izo/v1/a%20b?k=v HTTP/1.1\r\nHost: x\r\nX-One: 1\r\n"
                                  "Content-Length: 5\r\nConnection: close\r\n\r\nhello");
  ASSERT_TRUE(seen);
  EXPECT_EQ(seen->method, Method::kPost);
  EXPECT_EQ(seen->target, (Target{{"izo", "v1", "a b"}, {{"k", "v"}}}));
  EXPECT_EQ(*find(seen->headers, "x-one"), "1");
  EXPECT_EQ(seen->body, bytes_of("hello"));
  EXPECT_EQ(seen->address, "127.0.0.1");
  EXPECT_FALSE(seen->key);
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 201 Created\r\n")) << answer;
  EXPECT_NE(answer.find("\r\nX-Izo: b\r\n"), std::string::npos) << answer;
  EXPECT_TRUE(answer.ends_with("\r\n\r\nmade")) << answer;
}

TEST(Server, TheLongestBodyIsTaken) {
  std::size_t seen = 0;
  TestPair pair([&](Exchange exchange) {
    seen = exchange.request().body.size();
    exchange.answer(text_answer("ok"));
  });
  const std::string body(kMaxRequestBody, 'x');
  EXPECT_EQ(
      status_of(talk(pair, "POST /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: " +
                               std::to_string(body.size()) + "\r\n\r\n" + body)),
      "200");
  EXPECT_EQ(seen, kMaxRequestBody);
}

TEST(Server, BodiesTogetherAreBounded) {
  int reached = 0;
  TestPair pair(
      [&](Exchange exchange) {
        reached++;
        exchange.answer(text_answer("ok"));
      },
      {.bodies = 1000});
  const auto post = [](int length, const std::string& more = {}) {
    return "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(length) + more +
           "\r\nConnection: close\r\n\r\n";
  };
  EXPECT_TRUE(pair.during([&] {
    const RawConnection first(pair.server.port());
    // The server says when it has made room for the body, which is to come.
    first.send(post(600, "\r\nExpect: 100-continue"));
    EXPECT_EQ(status_of(first.read_until("\r\n\r\n")), "100");
    const RawConnection second(pair.server.port());
    second.send(post(600) + std::string(600, 'x'));
    EXPECT_EQ(status_of(second.read_all()), "503");
    first.send(std::string(600, 'x'));
    EXPECT_EQ(status_of(first.read_all()), "200");
    std::string status;
    const auto start = std::chrono::steady_clock::now();
    while (status != "200" && std::chrono::steady_clock::now() - start < kLimit) {
      const RawConnection third(pair.server.port());
      third.send(post(1000) + std::string(1000, 'x'));
      status = status_of(third.read_all());  // 503 until the server has seen the first's end
    }
    EXPECT_EQ(status, "200");
  }));
}

TEST(Server, ASlowClientIsCutOff) {
  int reached = 0;
  TestPair pair(
      [&](Exchange exchange) {
        reached++;
        exchange.answer(text_answer("ok"));
      },
      {.head_limit = std::chrono::seconds(1),
       .body_limit = std::chrono::seconds(1),
       .idle_limit = std::chrono::seconds(1)});
  const auto drip = [](const RawConnection& connection, const std::string& start) {
    connection.send(start);
    const auto began = std::chrono::steady_clock::now();
    while (connection.send("x") && std::chrono::steady_clock::now() - began < kLimit) {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));  // slowness is what is tested
    }
    return std::chrono::steady_clock::now() - began;
  };
  EXPECT_TRUE(pair.during([&] {
    EXPECT_LT(drip(RawConnection(pair.server.port()), "GET /a HTTP/1.1\r\nX-Slow: "),
              std::chrono::seconds(5));
    EXPECT_LT(drip(RawConnection(pair.server.port()),
                   "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"),
              std::chrono::seconds(5));
    const RawConnection second(pair.server.port());
    second.send(get("/a", ""));
    EXPECT_NE(second.read_until("ok").find("200"), std::string::npos);
    EXPECT_LT(drip(second, "GET /a HTTP/1.1\r\nX-Slow: "), std::chrono::seconds(5));
  }));
  EXPECT_EQ(reached, 1);
  EXPECT_EQ(pair.server.counters().cut, 3U);
}

TEST(Server, ConnectionsOfOneAddressAreBounded) {
  TestPair pair([](Exchange exchange) { exchange.answer(text_answer("ok")); },
                {.connections_per_address = 4});
  EXPECT_TRUE(pair.during([&] {
    std::vector<RawConnection> connections;
    connections.reserve(4);
    for (int i = 0; i < 4; i++) {
      connections.emplace_back(pair.server.port());
      connections.back().send(get("/a", ""));
      EXPECT_EQ(status_of(connections.back().read_until("ok")), "200");
    }
    const RawConnection fifth(pair.server.port());
    fifth.send(get("/a", ""));
    EXPECT_EQ(fifth.read_all(), "");
  }));
}

TEST(Server, AClientThatGoesAwayIsTold) {
  std::optional<Exchange> waiting;
  bool gone = false;
  TestPair pair([&](Exchange exchange) {
    exchange.on_gone([&] { gone = true; });
    waiting = std::move(exchange);
  });
  RawConnection connection(pair.server.port());
  connection.send(get("/poll", ""));
  ASSERT_TRUE(pair.until([&] { return waiting.has_value(); }));
  EXPECT_FALSE(waiting->gone());
  connection.close();
  ASSERT_TRUE(pair.until([&] { return gone; }));
  EXPECT_TRUE(waiting->gone());
  waiting->answer(text_answer("too late"));
  EXPECT_TRUE(pair.until([&] { return pair.server.counters().open == 0; }));
}

TEST(Server, AStreamWhoseClientGoesAwayIsTold) {
  std::optional<StreamWriter> writer;
  bool gone = false;
  TestPair pair([&](Exchange exchange) {
    writer = exchange.stream(200, {});
    writer->on_gone([&] { gone = true; });
  });
  for (const bool much : {false, true}) {
    gone = false;
    writer.reset();
    RawConnection connection(pair.server.port());
    connection.send(get("/stream", ""));
    ASSERT_TRUE(pair.until([&] { return writer.has_value(); }));
    // Once while it waits for more, once while there is more than fits into the sockets.
    writer->write(std::vector<std::byte>(much ? std::size_t{16} << 20 : 10));
    ASSERT_TRUE(pair.during([&] { EXPECT_NE(connection.read_until("\r\n\r\n"), ""); }));
    connection.close();
    ASSERT_TRUE(pair.until([&] { return gone; })) << much;
    EXPECT_TRUE(writer->gone());
    EXPECT_FALSE(writer->write(bytes_of("more")));
  }
}

TEST(Server, AnUnansweredRequestIsAnsweredWith503) {
  TestPair pair([](const Exchange&) {});
  EXPECT_EQ(status_of(talk(pair, get("/a"))), "503");
}

TEST(Server, ARequestKnowsThatItWasAnswered) {
  std::vector<bool> answered;
  TestPair pair([&](Exchange exchange) {
    answered.push_back(exchange.answered());
    exchange.answer({.status = 200});
    answered.push_back(exchange.answered());
    const Exchange other = std::move(exchange);
    answered.push_back(exchange.answered());  // NOLINT(bugprone-use-after-move): another's, as said
  });
  EXPECT_EQ(status_of(talk(pair, get("/a"))), "200");
  EXPECT_EQ(answered, (std::vector<bool>{false, true, true}));
}

TEST(Server, AnAnswerThatCannotBeSentIsRefused) {
  int thrown = 0;
  TestPair pair([&](Exchange exchange) {
    const auto refused = [&](Answer answer) {
      try {
        exchange.answer(std::move(answer));
      } catch (const Error&) {
        thrown++;
      }
    };
    refused({.headers = {{"X", "a\r\nY: b"}}});
    refused({.status = 99});
    exchange.answer(text_answer("instead"));
  });
  EXPECT_TRUE(talk(pair, get("/a")).ends_with("instead"));
  EXPECT_EQ(thrown, 2);
}

TEST(Server, ItStopsWhileConnectionsWait) {
  std::vector<Exchange> waiting;
  std::vector<StreamWriter> writers;
  int gone = 0;
  TestPair pair([&](Exchange exchange) {
    if (exchange.request().target.path[0] == "stream") {
      writers.push_back(exchange.stream(200, {}));
      writers.back().on_gone([&] { gone++; });
    } else {
      exchange.on_gone([&] { gone++; });
      waiting.push_back(std::move(exchange));
    }
  });
  std::vector<RawConnection> connections;
  connections.reserve(20);
  for (int i = 0; i < 20; i++) {
    connections.emplace_back(pair.server.port());
    connections.back().send(get(i % 2 == 0 ? "/poll" : "/stream", ""));
  }
  ASSERT_TRUE(pair.until([&] { return waiting.size() == 10 && writers.size() == 10; }));
  // Some that the loop has not seen yet.
  const std::uint64_t seen = pair.server.counters().requests;
  for (int i = 0; i < 5; i++) {
    connections.emplace_back(pair.server.port());
    connections.back().send(get("/poll", ""));
  }
  const auto start = std::chrono::steady_clock::now();
  while (pair.server.counters().requests < seen + 5 &&
         std::chrono::steady_clock::now() - start < kLimit) {
    std::this_thread::yield();
  }
  pair.server.stop();
  EXPECT_EQ(gone, 20);
  for (const RawConnection& connection : connections) {
    EXPECT_EQ(connection.read_all().find("HTTP/1.1 200 OK\r\n\r\n"), std::string::npos);
  }
  EXPECT_THROW(RawConnection(pair.server.port()), SysError);
  bool more = false;
  pair.loop.post([&] { more = true; });
  EXPECT_TRUE(pair.until([&] { return more; }));
  EXPECT_EQ(waiting.size(), 10U);  // those the loop had not seen are not shown to it any more
  pair.server.stop();              // nothing more to do
}

TEST(Server, APortInUseIsRefused) {
  MainLoop loop;
  const auto serve = [&](const std::string& address, std::uint16_t port) {
    return std::make_unique<Server>(loop, PlainHttp(),
                                    Server::Options{.address = address, .port = port},
                                    [](const Exchange&) {});
  };
  const std::unique_ptr<Server> first = serve("127.0.0.1", 0);
  EXPECT_THROW(serve("127.0.0.1", first->port()), SysError);
  EXPECT_THROW(serve("localhost", 0), Error);
  EXPECT_THROW(serve("192.0.2.1", 0), SysError);
  const std::unique_ptr<Server> all = serve("", 0);
  EXPECT_NE(all->port(), 0);
  EXPECT_TRUE(RawConnection(all->port()).send("x"));
}

}  // namespace
}  // namespace izo::http
