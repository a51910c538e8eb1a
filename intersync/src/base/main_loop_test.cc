// SPDX-License-Identifier: GPL-2.0
#include "base/main_loop.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <csignal>
#include <memory>
#include <optional>
#include <stdexcept>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"

namespace izo {
namespace {

using std::chrono::milliseconds;
constexpr std::chrono::seconds kLimit{20};

struct Pair {
  UniqueFd mine;
  UniqueFd theirs;

  Pair() {
    std::array<int, 2> fds{};
    checked(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds.data()),
            "socketpair");
    mine.reset(fds[0]);
    theirs.reset(fds[1]);
  }
};

TEST(MainLoop, TimersFireInTheOrderOfTheirTimes) {
  MainLoop loop;
  std::vector<int> order;
  const MainLoop::Handle late = loop.after(milliseconds(30), [&] {
    order.push_back(2);
    loop.quit();
  });
  const MainLoop::Handle early = loop.after(milliseconds(1), [&] { order.push_back(1); });
  MainLoop::Handle never = loop.after(milliseconds(2), [&] { order.push_back(0); });
  EXPECT_TRUE(never.active());
  never.reset();
  EXPECT_FALSE(never.active());
  loop.run();
  EXPECT_EQ(order, (std::vector{1, 2}));
  EXPECT_FALSE(late.active());
}

TEST(MainLoop, ADescriptorIsToldReadableWritableAndHungUp) {
  MainLoop loop;
  Pair pair;
  unsigned seen = 0;
  const MainLoop::Handle watch =
      loop.watch(pair.mine.get(), MainLoop::kReadable | MainLoop::kHangup,
                 [&](unsigned events) { seen |= events; });
  const auto saw = [&](unsigned events) {
    return loop.run_until([&] { return (seen & events) == events; }, kLimit);
  };
  EXPECT_FALSE(loop.run_until([&] { return seen != 0; }, milliseconds(20)));
  ASSERT_EQ(::send(pair.theirs.get(), "x", 1, MSG_NOSIGNAL), 1);
  EXPECT_TRUE(saw(MainLoop::kReadable));
  EXPECT_EQ(seen & MainLoop::kHangup, 0U);
  pair.theirs.reset();
  EXPECT_TRUE(saw(MainLoop::kHangup));

  const Pair other;
  unsigned writable = 0;
  const MainLoop::Handle writer = loop.watch(other.mine.get(), MainLoop::kWritable,
                                             [&](unsigned events) { writable = events; });
  EXPECT_TRUE(loop.run_until([&] { return writable == MainLoop::kWritable; }, kLimit));
}

TEST(MainLoop, AHalfClosedStreamIsAHangup) {
  MainLoop loop;
  const Pair pair;
  bool gone = false;
  const MainLoop::Handle watch =
      loop.watch(pair.mine.get(), MainLoop::kHangup, [&](unsigned) { gone = true; });
  ASSERT_EQ(::send(pair.theirs.get(), "unread", 6, MSG_NOSIGNAL), 6);
  ASSERT_EQ(::shutdown(pair.theirs.get(), SHUT_WR), 0);
  EXPECT_TRUE(loop.run_until([&] { return gone; }, kLimit));
}

TEST(MainLoop, AHandleMayEndInItsOwnCallback) {
  MainLoop loop;
  const Pair pair;
  int calls = 0;
  MainLoop::Handle watch;
  auto captured = std::make_shared<int>(7);
  const std::weak_ptr<int> alive = captured;
  watch = loop.watch(pair.mine.get(), MainLoop::kWritable, [&, captured](unsigned) {
    watch.reset();
    calls += *captured;  // still there
  });
  captured.reset();
  EXPECT_TRUE(loop.run_until([&] { return calls != 0; }, kLimit));
  EXPECT_FALSE(loop.run_until([&] { return calls != 7; }, milliseconds(20)));
  EXPECT_TRUE(alive.expired());
}

TEST(MainLoop, AHandleMayOutliveItsLoop) {
  std::optional<MainLoop> loop(std::in_place);
  const MainLoop::Handle timer = loop->after(milliseconds(0), [] {});
  loop.reset();
  EXPECT_FALSE(timer.active());
}

TEST(MainLoop, AnExceptionComesOutOfRunAndItsSourceIsGone) {
  MainLoop loop;
  const Pair pair;
  int calls = 0;
  const MainLoop::Handle watch = loop.watch(pair.mine.get(), MainLoop::kWritable, [&](unsigned) {
    calls++;
    throw Error("peer away");
  });
  EXPECT_THROW(loop.run(), Error);
  EXPECT_FALSE(loop.run_until([&] { return calls != 1; }, milliseconds(20)));
  EXPECT_FALSE(watch.active());
}

TEST(MainLoop, AfterAnExceptionWhatWasPostedIsStillCalled) {
  MainLoop loop;
  std::vector<int> order;
  loop.post([&] { order.push_back(1); });
  loop.post([] { throw std::runtime_error("once"); });
  loop.post([&] { order.push_back(2); });
  EXPECT_THROW(loop.run(), std::runtime_error);
  EXPECT_EQ(order, std::vector{1});
  loop.post([&] { loop.quit(); });
  loop.run();
  EXPECT_EQ(order, (std::vector{1, 2}));
}

TEST(MainLoop, FunctionsOfOtherThreadsComeInTheirOrder) {
  constexpr int kThreads = 4;
  constexpr int kEach = 5000;
  MainLoop loop;
  std::vector<std::vector<int>> seen(kThreads);
  std::vector<std::thread> threads;
  threads.reserve(kThreads);
  int finished = 0;
  for (std::size_t i = 0; i < kThreads; i++) {
    threads.emplace_back([&, i] {
      for (int number = 0; number < kEach; number++) {
        loop.post([&, i, number] { seen[i].push_back(number); });
      }
      loop.post([&] { finished++; });
    });
  }
  EXPECT_TRUE(loop.run_until([&] { return finished == kThreads; }, kLimit));
  for (std::thread& thread : threads) {
    thread.join();
  }
  for (const std::vector<int>& numbers : seen) {
    ASSERT_EQ(numbers.size(), kEach);
    EXPECT_TRUE(std::is_sorted(numbers.begin(), numbers.end()));
  }
}

TEST(MainLoop, APostThatPostsItselfLetsOthersRun) {
  MainLoop loop;
  std::function<void()> again = [&] { loop.post(again); };
  loop.post(again);
  bool fired = false;
  const MainLoop::Handle timer = loop.after(milliseconds(5), [&] { fired = true; });
  EXPECT_TRUE(loop.run_until([&] { return fired; }, kLimit));
}

TEST(MainLoop, AnotherThreadStopsIt) {
  MainLoop loop;
  std::thread thread([&] { loop.quit(); });
  loop.run();
  thread.join();
  loop.quit();
  loop.run();  // quit() before run()
}

TEST(MainLoop, SignalsComeAsEvents) {
  MainLoop loop;
  int seen = 0;
  const MainLoop::Handle term = loop.on_signal(SIGTERM, [&] { seen += 1; });
  const MainLoop::Handle hup = loop.on_signal(SIGHUP, [&] { seen += 10; });
  ::kill(::getpid(), SIGHUP);
  EXPECT_TRUE(loop.run_until([&] { return seen == 10; }, kLimit));
  ::kill(::getpid(), SIGTERM);
  EXPECT_TRUE(loop.run_until([&] { return seen == 11; }, kLimit));
}

TEST(MainLoop, TwoLoopsDoNotKnowEachOther) {
  MainLoop one;
  MainLoop two;
  bool other = false;
  two.post([&] { other = true; });
  EXPECT_FALSE(one.run_until([&] { return other; }, milliseconds(20)));
  EXPECT_TRUE(two.run_until([&] { return other; }, kLimit));
}

}  // namespace
}  // namespace izo
