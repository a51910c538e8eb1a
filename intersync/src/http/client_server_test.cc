// SPDX-License-Identifier: GPL-2.0
// Our client with our server.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <csignal>
#include <cstdio>

#include "base/error.h"
#include "http/test_peers.h"

namespace izo::http {
namespace {

using How = Outcome::How;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

/// `length` bytes that differ from place to place.
std::string pattern(std::size_t length) {
  std::string text(length, '\0');
  std::uint32_t state = 1;
  for (char& letter : text) {
    state = state * 1664525 + 1013904223;
    letter = static_cast<char>(state >> 24);
  }
  return text;
}

double seconds_since(steady_clock::time_point start) {
  return std::chrono::duration<double>(steady_clock::now() - start).count();
}

TEST(ClientServer, BodiesArriveOverOneConnection) {
  const std::string text = pattern(3 << 20);
  TestPair pair([&](Exchange exchange) {
    exchange.answer(exchange.request().target.path[0] == "bytes" ? text_answer(text)
                                                                 : Answer{.status = 200});
  });
  EXPECT_EQ(pair.get("/bytes")->body, text);
  EXPECT_EQ(pair.get("/empty")->body, "");
  EXPECT_EQ(pair.get("/bytes")->body, text);
  EXPECT_EQ(pair.server.counters().connections, 1U) << "connections are used again";
}

TEST(ClientServer, ABodyBeyondTheLimitIs413) {
  // The client does not send such; a raw head does, while the client's own longest body passes.
  std::size_t seen = 0;
  TestPair pair([&](Exchange exchange) {
    seen = exchange.request().body.size();
    exchange.answer(text_answer("ok"));
  });
  const std::optional<Collected> got =
      collect(pair.loop, pair.client,
              {.method = Method::kPost,
               .target = "/x",
               .body = std::vector<std::byte>(kMaxRequestBody, std::byte{7})});
  EXPECT_EQ(got->outcome.how, How::kComplete) << got->outcome.error;
  EXPECT_EQ(seen, kMaxRequestBody);
}

TEST(ClientServer, ALongPollIsAnsweredOrTimedOutOrCancelled) {
  struct Poll {
    Exchange exchange;
    MainLoop::Handle deadline;
  };
  std::vector<std::unique_ptr<Poll>> polls;
  int gone = 0;
  MainLoop* loop = nullptr;
  TestPair pair([&](Exchange exchange) {
    auto poll = std::make_unique<Poll>(Poll{std::move(exchange), {}});
    Poll* waiting = poll.get();
    poll->exchange.on_gone([&] { gone++; });
    poll->deadline =
        loop->after(milliseconds(100), [waiting] { waiting->exchange.answer({.status = 204}); });
    polls.push_back(std::move(poll));
  });
  loop = &pair.loop;
  const std::optional<Collected> late = pair.get("/poll");
  EXPECT_EQ(late->outcome.head.status, 204);

  std::optional<Outcome> outcome;
  const Client::Transfer answered =
      pair.client.start({.target = "/poll"}, {.done = [&](const Outcome& how) { outcome = how; }});
  ASSERT_TRUE(pair.until([&] { return polls.size() == 2; }));
  polls[1]->deadline.reset();
  polls[1]->exchange.answer(text_answer("news"));
  ASSERT_TRUE(pair.until([&] { return outcome.has_value(); }));
  EXPECT_EQ(outcome->head.status, 200);

  Client::Transfer cancelled = pair.client.start(
      {.target = "/poll"}, {.done = [](const Outcome&) { FAIL() << "it was cancelled"; }});
  ASSERT_TRUE(pair.until([&] { return polls.size() == 3; }));
  polls[2]->deadline.reset();
  cancelled.cancel();
  EXPECT_TRUE(pair.until([&] { return gone == 1; }));
}

TEST(ClientServer, TwoHundredRequestsShareEightConnections) {
  int now = 0;
  int most = 0;
  std::vector<MainLoop::Handle> timers;
  MainLoop* loop = nullptr;
  TestPair pair([&](Exchange exchange) {
    most = std::max(most, ++now);
    auto held = std::make_shared<Exchange>(std::move(exchange));
    timers.push_back(loop->after(milliseconds(2), [&, held] {
      now--;
      held->answer(text_answer(held->request().target.path[1]));
    }));
  });
  loop = &pair.loop;
  std::vector<Client::Transfer> transfers;
  std::vector<std::string> bodies(200);
  int complete = 0;
  transfers.reserve(bodies.size());
  for (std::size_t i = 0; i < bodies.size(); i++) {
    transfers.push_back(pair.client.start(
        {.target = "/number/" + std::to_string(i)},
        {.data =
             [&bodies, i](Bytes bytes) {
               bodies[i] += as_text(bytes);
               return true;
             },
         .done =
             [&](const Outcome& outcome) { complete += outcome.how == How::kComplete ? 1 : 0; }}));
  }
  ASSERT_TRUE(pair.until([&] { return complete == 200; }));
  for (std::size_t i = 0; i < bodies.size(); i++) {
    EXPECT_EQ(bodies[i], std::to_string(i));
  }
  EXPECT_EQ(most, 8);
  EXPECT_LE(pair.server.counters().connections, 8U);
}

TEST(ClientServer, WhatWaitsForAConnectionIsNotTimedOut) {
  std::vector<Exchange> waiting;
  TestPair pair([&](Exchange exchange) { waiting.push_back(std::move(exchange)); }, {},
                {.connections = 1});
  std::vector<Outcome> outcomes;
  std::vector<Client::Transfer> transfers;
  for (const int patience : {60000, 100}) {
    transfers.push_back(
        pair.client.start({.target = "/x", .patience = milliseconds(patience)},
                          {.done = [&](const Outcome& how) { outcomes.push_back(how); }}));
  }
  ASSERT_TRUE(pair.until([&] { return waiting.size() == 1; }));
  EXPECT_FALSE(pair.loop.run_until([&] { return !outcomes.empty(); }, milliseconds(300)));
  waiting[0].answer(text_answer("first"));
  ASSERT_TRUE(pair.until([&] { return outcomes.size() == 2; }));
  EXPECT_EQ(outcomes[0].how, How::kComplete);
  EXPECT_EQ(outcomes[1].how, How::kTimedOut);
}

TEST(ClientServer, ReceiversMayStartCancelAndEndEverything) {
  TestPair pair([](Exchange exchange) { exchange.answer(text_answer(pattern(300000))); });
  auto client = std::make_unique<Client>(pair.loop, pair.base(), PlainHttp(), Client::Options{});
  // Its own, in each of its functions.
  for (const int where : {0, 1, 2}) {
    Client::Transfer transfer;
    bool called = false;
    const auto cancel_at = [&](int here) {
      if (where == here) {
        called = true;
        transfer.cancel();
      }
      return true;
    };
    transfer =
        client->start({.target = "/x"}, {.head = [&](const AnswerHead&) { return cancel_at(0); },
                                         .data = [&](Bytes) { return cancel_at(1); },
                                         .done =
                                             [&](const Outcome&) {
                                               EXPECT_EQ(where, 2);
                                               cancel_at(2);
                                             }});
    ASSERT_TRUE(pair.until([&] { return called && !transfer.active(); })) << where;
  }
  // Others, running and waiting, and new ones instead.
  std::vector<Client::Transfer> others;
  others.reserve(40);
  for (int i = 0; i < 20; i++) {
    others.push_back(client->start({.target = "/x"},
                                   {.done = [](const Outcome&) { FAIL() << "it was cancelled"; }}));
  }
  int complete = 0;
  client->start({.target = "/y"}, {}).cancel();
  others.erase(others.begin());
  const Client::Transfer first = client->start({.target = "/x"}, {});
  others.insert(others.begin(), client->start({.target = "/x"}, {.done = [](const Outcome&) {}}));
  others.resize(8);
  Client::Transfer trigger;
  std::vector<Client::Transfer> fresh;
  trigger = client->start(
      {.target = "/x"}, {.data = [&](Bytes) {
        others.clear();
        if (fresh.empty()) {
          for (int i = 0; i < 20; i++) {
            fresh.push_back(client->start({.target = "/z"}, {.done = [&](const Outcome& outcome) {
                                            complete += outcome.how == How::kComplete ? 1 : 0;
                                          }}));
          }
        }
        return true;
      }});
  others.erase(others.begin(), others.begin() + 4);
  others.clear();
  ASSERT_TRUE(pair.until([&] { return complete == 20; }));
  // The client, inside curl.
  bool ended = false;
  const Client::Transfer last =
      client->start({.target = "/x"}, {.data =
                                           [&](Bytes) {
                                             client.reset();
                                             ended = true;
                                             return true;
                                           },
                                       .done = [](const Outcome&) { FAIL() << "it has ended"; }});
  ASSERT_TRUE(pair.until([&] { return ended; }));
  EXPECT_FALSE(last.active());
  EXPECT_EQ(pair.get("/x")->body.size(), 300000U);
}

TEST(ClientServer, TheClientMayEndInAnOutcome) {
  TestPair pair([](Exchange exchange) { exchange.answer(text_answer("x")); });
  auto client = std::make_unique<Client>(pair.loop, pair.base(), PlainHttp(), Client::Options{});
  int done = 0;
  std::vector<Client::Transfer> transfers;
  transfers.reserve(10);
  for (int i = 0; i < 10; i++) {
    transfers.push_back(client->start({.target = "/x"}, {.done = [&](const Outcome&) {
                                        done++;
                                        client.reset();
                                      }}));
  }
  ASSERT_TRUE(pair.until([&] { return done != 0; }));
  EXPECT_FALSE(pair.loop.run_until([&] { return done != 1; }, milliseconds(50)));
}

TEST(ClientServer, AStreamKeepsTimeWithItsReader) {
  // The writer writes only while more is welcome; the client gets all of it.
  constexpr std::size_t kPieces = 200;
  const std::string piece = pattern(100000);
  std::optional<StreamWriter> writer;
  std::size_t written = 0;
  int waits = 0;
  std::function<void()> go_on;
  TestPair pair([&](Exchange exchange) {
    writer = exchange.stream(200, {{"Content-Type", "application/octet-stream"}});
    writer->on_room([&] { go_on(); });
    go_on();
  });
  go_on = [&] {
    while (written < kPieces) {
      written++;
      if (!writer->write(bytes_of(piece))) {
        waits++;
        return;
      }
    }
    writer->finish();
  };
  std::size_t received = 0;
  std::optional<Outcome> outcome;
  const Client::Transfer transfer =
      pair.client.start({.target = "/stream", .longest_answer = kPieces * piece.size()},
                        {.data =
                             [&](Bytes bytes) {
                               for (const char letter : as_text(bytes)) {
                                 if (letter != piece[received++ % piece.size()]) {
                                   return false;
                                 }
                               }
                               return true;
                             },
                         .done = [&](const Outcome& how) { outcome = how; }});
  ASSERT_TRUE(pair.until([&] { return outcome.has_value(); }));
  EXPECT_EQ(outcome->how, How::kComplete) << outcome->error;
  EXPECT_EQ(received, kPieces * piece.size());
  EXPECT_GT(waits, 0);
}

TEST(ClientServer, AStreamThatIsNotFinishedIsBroken) {
  TestPair pair([](Exchange exchange) {
    StreamWriter writer = exchange.stream(200, {});
    writer.write(bytes_of("part"));
  });
  EXPECT_EQ(pair.get("/x")->outcome.how, How::kBroken);
}

TEST(ClientServer, TenThousandSmallBodiesInOneAnswer) {
  constexpr std::size_t kBodies = 10000;
  constexpr std::size_t kSize = 4096;
  std::optional<StreamWriter> writer;
  std::size_t written = 0;
  std::function<void()> go_on;
  TestPair pair([&](Exchange exchange) {
    writer = exchange.stream(200, {});
    writer->on_room([&] { go_on(); });
    go_on();
  });
  go_on = [&] {
    while (written < kBodies) {
      if (!writer->write(std::vector<std::byte>(kSize, static_cast<std::byte>(written++)))) {
        return;
      }
    }
    writer->finish();
  };
  std::size_t received = 0;
  std::size_t wrong = 0;
  std::optional<Outcome> outcome;
  const auto start = steady_clock::now();
  const Client::Transfer transfer = pair.client.start(
      {.target = "/bodies", .longest_answer = kBodies * kSize},
      {.data =
           [&](Bytes bytes) {
             for (const std::byte byte : bytes) {
               wrong += byte != static_cast<std::byte>(received++ / kSize) ? 1U : 0U;
             }
             return true;
           },
       .done = [&](const Outcome& how) { outcome = how; }});
  ASSERT_TRUE(pair.until([&] { return outcome.has_value(); }));
  std::printf("%.0f bodies of 4 KiB a second in one answer\n", kBodies / seconds_since(start));
  EXPECT_EQ(outcome->how, How::kComplete) << outcome->error;
  EXPECT_EQ(received, kBodies * kSize);
  EXPECT_EQ(wrong, 0U);
}

TEST(ClientServer, ManySmallRequests) {
  constexpr int kRequests = 5000;
  TestPair pair([](Exchange exchange) { exchange.answer(text_answer("0123456789")); });
  std::vector<Client::Transfer> transfers;
  transfers.reserve(kRequests);
  int complete = 0;
  const auto start = steady_clock::now();
  for (int i = 0; i < kRequests; i++) {
    transfers.push_back(pair.client.start({.target = "/x"}, {.done = [&](const Outcome& outcome) {
                                            complete += outcome.received == 10 ? 1 : 0;
                                          }}));
  }
  ASSERT_TRUE(pair.until([&] { return complete == kRequests; }));
  std::printf("%.0f requests a second over 8 connections\n", kRequests / seconds_since(start));
}

/// A server in a process of its own, that can be killed.
class OtherProcess {
 public:
  /// Forks; so before this process has threads. `port` 0: any, told through a pipe.
  OtherProcess(std::uint16_t port, const std::function<void(MainLoop&, Exchange)>& handler) {
    std::array<int, 2> ends{};
    checked(::pipe2(ends.data(), O_CLOEXEC), "pipe2");
    const UniqueFd reading(ends[0]);
    const UniqueFd writing(ends[1]);
    pid_ = checked(::fork(), "fork");
    if (pid_ == 0) {
      MainLoop loop;
      const Server server(loop, PlainHttp(), {.address = "127.0.0.1", .port = port},
                          [&](Exchange exchange) { handler(loop, std::move(exchange)); });
      const std::uint16_t mine = server.port();
      if (::write(writing.get(), &mine, sizeof(mine)) == sizeof(mine)) {
        loop.run();
      }
      std::_Exit(1);
    }
    checked(::read(reading.get(), &port_, sizeof(port_)), "read");
  }
  ~OtherProcess() { kill(); }
  OtherProcess(const OtherProcess&) = delete;
  OtherProcess& operator=(const OtherProcess&) = delete;

  void kill() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
      pid_ = -1;
    }
  }
  [[nodiscard]] std::uint16_t port() const { return port_; }

 private:
  pid_t pid_ = -1;
  std::uint16_t port_ = 0;
};

TEST(ClientServer, AKilledServersBodyIsNotTakenForWhole) {
  const std::string text = pattern(8 << 20);
  std::optional<StreamWriter> writer;
  OtherProcess first(0, [&](MainLoop&, Exchange exchange) {
    writer = exchange.stream(200, {});
    writer->write(bytes_of(std::string_view(text).substr(0, 5000000)));
  });
  std::string body;
  MainLoop loop;
  Client client(loop, "http://127.0.0.1:" + std::to_string(first.port()), PlainHttp(), {});
  std::optional<Outcome> outcome;
  const Receiver receiver{.data =
                              [&](Bytes bytes) {
                                body += as_text(bytes);
                                return true;
                              },
                          .done = [&](const Outcome& how) { outcome = how; }};
  Client::Transfer transfer =
      client.start({.target = "/body", .longest_answer = text.size()}, receiver);
  ASSERT_TRUE(loop.run_until([&] { return body.size() == 5000000; }, kLimit)) << body.size();
  first.kill();
  ASSERT_TRUE(loop.run_until([&] { return outcome.has_value(); }, kLimit));
  EXPECT_EQ(outcome->how, How::kBroken);

  // The next one at its place serves the same client.
  const OtherProcess second(
      first.port(), [&](MainLoop&, Exchange exchange) { exchange.answer(text_answer(text)); });
  outcome.reset();
  body.clear();
  transfer = client.start({.target = "/body", .longest_answer = text.size()}, receiver);
  ASSERT_TRUE(loop.run_until([&] { return outcome.has_value(); }, kLimit));
  EXPECT_EQ(outcome->how, How::kComplete) << outcome->error;
  EXPECT_TRUE(body == text);
}

}  // namespace
}  // namespace izo::http
