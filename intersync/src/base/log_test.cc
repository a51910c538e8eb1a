// SPDX-License-Identifier: GPL-2.0
#include "base/log.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <array>
#include <fstream>
#include <sstream>

#include "base/error.h"
#include "base/temporary_folder.h"

namespace izo::log {
namespace {

class HandClock final : public Clock {
 public:
  [[nodiscard]] std::chrono::nanoseconds monotonic() const override { return now; }
  [[nodiscard]] std::chrono::nanoseconds boottime() const override { return now; }
  [[nodiscard]] std::chrono::nanoseconds wall() const override { return now; }
  std::chrono::nanoseconds now{};
};

class Log : public testing::Test {
 protected:
  [[nodiscard]] std::string contents(const std::string& name) const {
    std::ostringstream text;
    text << std::ifstream(folder_.file(name)).rdbuf();
    return text.str();
  }

  TemporaryFolder folder_;
  HandClock clock_;
  UniqueFd err_{::open(folder_.file("err").c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600)};
  Logger logger_{clock_, err_.get(), Logger::Form::kPlain, "intersync"};
};

TEST_F(Log, PlainAndForTheJournal) {
  logger_.write(Level::kWarning, "peer server: away");
  Logger(clock_, err_.get(), Logger::Form::kJournal, "intersync")
      .write(Level::kWarning, "peer server: away");
  EXPECT_EQ(contents("err"), "intersync: peer server: away\n<4>peer server: away\n");
}

TEST_F(Log, AFileHasTimesAndLevels) {
  clock_.now = std::chrono::seconds(1782907200) + std::chrono::milliseconds(7);
  logger_.to_file(folder_.file("log"));
  logger_.write(Level::kError, "disk full");
  EXPECT_EQ(contents("log"), "2026-07-01T12:00:00.007Z error disk full\n");
  std::filesystem::rename(folder_.file("log"), folder_.file("log.1"));
  logger_.to_file(folder_.file("log"));
  logger_.write(Level::kInfo, "again");
  EXPECT_EQ(contents("log"), "2026-07-01T12:00:00.007Z info again\n");
  EXPECT_THROW(logger_.to_file(folder_.file("no/such/folder")), SysError);
  logger_.write(Level::kInfo, "more");
  EXPECT_NE(contents("log").find("info more\n"), std::string::npos);
}

TEST_F(Log, NothingAPeerSendsMakesLinesOrEscapes) {
  using std::string_literals::operator""s;
  logger_.write(Level::kNotice, "a\nb\x1b[2J\x7f\0c \u00e9 \u009b \xc2"s);
  EXPECT_EQ(contents("err"), "intersync: a\\x0ab\\x1b[2J\\x7f\\x00c \u00e9 \\xc2\x9b \xc2\n");
}

TEST_F(Log, ALineIsCut) {
  logger_.write(Level::kNotice, std::string(100000, 'x'));
  EXPECT_EQ(contents("err"), "intersync: " + std::string(4096, 'x') + "...\n");
}

TEST_F(Log, RepeatsAreHeldBackAndCounted) {
  for (int i = 0; i < 100; i++) {
    logger_.write(Level::kWarning, "again");
  }
  logger_.write(Level::kWarning, "other");
  std::string expected;
  for (int i = 0; i < 5; i++) {
    expected += "intersync: again\n";
  }
  expected += "intersync: other\n";
  EXPECT_EQ(contents("err"), expected);
  clock_.now += RepeatFilter::kWindow;
  logger_.write(Level::kWarning, "again");
  expected += "intersync: again (and 95 times more)\n";
  EXPECT_EQ(contents("err"), expected);
}

TEST_F(Log, DebugLinesAreNotHeldBack) {
  for (int i = 0; i < 100; i++) {
    logger_.write(Level::kDebug, "x");
  }
  EXPECT_EQ(contents("err").size(), 100 * std::string("intersync: x\n").size());
}

TEST_F(Log, AFullDiskLosesLinesOnly) {
  const UniqueFd full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  Logger(clock_, full.get(), Logger::Form::kPlain, "intersync").write(Level::kError, "lost");
}

TEST(RepeatFilter, RemembersABoundedNumberOfLines) {
  RepeatFilter filter;
  for (int i = 0; i < 100000; i++) {
    EXPECT_TRUE(filter.judge("line " + std::to_string(i), {}).write);
  }
}

TEST(LogTopics, WhatIsOffIsNotMade) {
  int made = 0;
  const auto part = [&] {
    made++;
    return "dear";
  };
  set_topics(kKml | kReint);
  debug(kHttp, part);
  EXPECT_EQ(made, 0);
  EXPECT_FALSE(wants(kUpcall));
  testing::internal::CaptureStderr();
  debug(kKml, "record ", 7, ' ', true, ' ', std::string("x"), ' ', part);
  set_topics(0);
  EXPECT_EQ(made, 1);
  const std::string line = testing::internal::GetCapturedStderr();
  EXPECT_NE(line.find("record 7 yes x dear\n"), std::string::npos) << line;
}

TEST(LogTopics, EachBitShowsItsTopicOnly) {
  constexpr std::array<Topic, 5> kAll{kInfo, kKml, kUpcall, kHttp, kReint};
  for (const Topic wanted : kAll) {
    set_topics(wanted);
    testing::internal::CaptureStderr();
    for (const Topic topic : kAll) {
      debug(topic, "of topic ", static_cast<unsigned>(topic), '.');
    }
    set_topics(0);
    const std::string said = testing::internal::GetCapturedStderr();
    for (const Topic topic : kAll) {
      const std::string line = "of topic " + std::to_string(static_cast<unsigned>(topic)) + ".\n";
      EXPECT_EQ(said.find(line) != std::string::npos, topic == wanted) << said;
    }
  }
}

TEST_F(Log, TheJournalIsKnownByItsStream) {
  struct stat status{};
  ASSERT_EQ(::fstat(err_.get(), &status), 0);
  const std::string stream = std::to_string(status.st_dev) + ":" + std::to_string(status.st_ino);
  EXPECT_TRUE(is_journal(err_.get(), stream.c_str()));
  EXPECT_FALSE(is_journal(err_.get(), (stream + "1").c_str()));
  EXPECT_FALSE(is_journal(err_.get(), nullptr));
  EXPECT_FALSE(is_journal(-1, stream.c_str()));
}

}  // namespace
}  // namespace izo::log
