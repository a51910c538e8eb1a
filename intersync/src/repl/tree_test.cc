// SPDX-License-Identifier: GPL-2.0
// Records that have to wait for what somebody does here, while others go on changing other things.
#include "repl/tree.h"

#include <gtest/gtest.h>
#include <linux/fs.h>

#include "repl/client.h"
#include "repl/model_replica.h"
#include "repl/server.h"

namespace izo::repl {
namespace {

constexpr std::uint64_t kRootIno = 2;
constexpr const char* kBeingChanged = "a file is being changed here";

/// A server and a client that have the file f, with a body, and are even.
class TreeTest : public testing::Test {
 protected:
  TreeTest() {
    create(there_, "f");
    write(there_, "f", "both have it");
    settle();
    there_.before_change = [this] {
      changes_++;
      if (is_busy_) {
        there_.make(kml::Op::kCreate, root("load " + std::to_string(changes_)), 0600);
      }
    };
  }

  static ModelReplica::Place root(const std::string& name) {
    return {.dir = kRootIno, .name = name};
  }
  static void create(ModelReplica& replica, const std::string& name) {
    EXPECT_TRUE(replica.make(kml::Op::kCreate, root(name), 0600));
  }
  static void write(ModelReplica& replica, const std::string& name, const std::string& text) {
    EXPECT_TRUE(replica.begin_write(replica.ino_at(root(name)), text));
    replica.end_write(replica.ino_at(root(name)));
  }

  /// Requests of the client until both are even.
  void settle() {
    here_.commit();
    there_.commit();
    for (unsigned i = 0; i < 100; i++) {
      client_.try_again();
      const std::optional<Request> request = client_.next();
      if (!request) {
        continue;
      }
      Response response = server_.answer(*request);
      const auto* pulled = std::get_if<Pulled>(&response);
      const bool end = pulled != nullptr && pulled->records.empty();
      client_.on(*request, std::move(response));
      if (end && !client_.is_behind()) {
        return;
      }
    }
    FAIL() << client_.waiting();
  }

  /// What the client changed goes to the server, where somebody makes a file before each change of
  /// the engine's and each commit; what the server answers.
  Pushed push_under_load() {
    here_.commit();
    std::optional<Request> request = client_.next();
    while (request && !std::holds_alternative<Push>(*request)) {
      // The answer to a Pull is late.
      if (!std::holds_alternative<Pull>(*request)) {
        client_.on(*request, server_.answer(*request));
      }
      request = client_.next();
    }
    EXPECT_TRUE(request);
    if (!request) {
      return {};
    }
    is_busy_ = true;
    changes_ = 0;
    Response response = server_.answer(*request);
    is_busy_ = false;
    client_.on(*request, response);
    return std::get<Pushed>(response);
  }

  std::uint64_t accepted() { return there_.received(here_.state().replica).value().recno; }

  void even() {
    client_.on_failure();
    settle();
    EXPECT_EQ(here_.manifest(true), there_.manifest(true));
  }

  /// A new connection to that server, and forty seconds.
  void pass_seconds(Server& server) {
    here_.commit();
    client_.on_failure();
    for (unsigned i = 0; i < 40; i++) {
      client_.try_again();
      if (const std::optional<Request> request = client_.next()) {
        client_.on(*request, server.answer(*request));
      }
    }
  }

  ModelReplica there_{1, true};
  ModelReplica here_{2, false};
  Server server_{there_};
  Client client_{here_};
  unsigned changes_ = 0;
  bool is_busy_ = false;
};

/// A file that somebody has open for writing keeps its name and its body until he closes it, and
/// the server does not look for the end of that in what others write, which would take as long as
/// they do.
TEST_F(TreeTest, AnOpenFileWaitsHoweverMuchElseIsWritten) {
  for (const std::string what : {"close", "rename", "unlink"}) {
    const std::uint64_t had = accepted();
    const std::string text = there_.text_of(there_.ino_at(root("f")));
    if (what == "unlink") {
      here_.unlink(root("f"));
    } else if (what == "close") {
      write(here_, "f", "new");
    } else {
      create(here_, "g");
      here_.rename(root("g"), root("f"), false);
    }
    bool is_open = true;
    there_.is_open = [&](const Fid&) { return is_open; };
    const Pushed pushed = push_under_load();
    EXPECT_EQ(pushed.stopped, kBeingChanged) << what;
    EXPECT_LT(changes_, 10U) << what;
    // Of the rename, g was made.
    EXPECT_EQ(pushed.accepted.recno, had + (what == "rename" ? 1 : 0)) << what;
    ASSERT_NE(there_.ino_at(root("f")), 0U) << what;
    EXPECT_EQ(there_.text_of(there_.ino_at(root("f"))), text) << what;
    is_open = false;
    even();
    EXPECT_EQ(there_.ino_at(root("f")) == 0, what == "unlink") << what;
  }
}

/// The same while the file has been written to, which the kernel tells as if its log would say it.
TEST_F(TreeTest, AFileThatIsWrittenToWaitsHoweverMuchElseIsWritten) {
  ASSERT_TRUE(there_.begin_write(there_.ino_at(root("f")), "being written"));
  here_.unlink(root("f"));
  const std::uint64_t had = accepted();
  const Pushed pushed = push_under_load();
  EXPECT_EQ(pushed.stopped, kBeingChanged);
  EXPECT_LT(changes_, 10U);
  EXPECT_EQ(pushed.accepted.recno, had);
  EXPECT_NE(there_.ino_at(root("f")), 0U);
  there_.end_write(there_.ino_at(root("f")));
  even();
  // It was removed all the same; what its remover had not seen is kept beside it.
  EXPECT_EQ(there_.ino_at(root("f")), 0U);
  EXPECT_TRUE(there_.texts().contains("being written"));
}

/// What must be done before the record, a copy here, cannot be done while the file is written to;
/// that others write does not make it worth trying more often.
TEST_F(TreeTest, ACopyThatCannotBeMadeYetIsNotTriedForAsLongAsOthersWrite) {
  write(there_, "f", "not seen there");
  there_.commit();
  ASSERT_TRUE(there_.begin_write(there_.ino_at(root("f")), "being written"));
  here_.unlink(root("f"));
  const std::uint64_t had = accepted();
  const Pushed pushed = push_under_load();
  EXPECT_EQ(pushed.stopped, "what must be done first cannot be done now");
  EXPECT_LT(changes_, 50U);
  EXPECT_EQ(pushed.accepted.recno, had);
  EXPECT_NE(there_.ino_at(root("f")), 0U);
  there_.end_write(there_.ino_at(root("f")));
  even();
  EXPECT_TRUE(there_.texts().contains("being written"));
}

/// A full disk under a change of the engine's own, a conflict copy, keeps the record waiting as it
/// does under the record: the client is told why, and the server reads nothing again. With room it
/// goes on.
TEST_F(TreeTest, ACopyForWhichThereIsNoRoomWaits) {
  write(here_, "f", "written there");
  write(there_, "f", "written here");
  there_.commit();
  const std::uint64_t had = accepted();
  there_.is_full = true;
  unsigned walked = 0;
  there_.amid_walk = [&] { walked++; };
  for (unsigned i = 0; i < 10; i++) {
    client_.on_failure();
    const Pushed pushed = push_under_load();
    EXPECT_EQ(pushed.stopped, "the file system cannot take it now: model: No space left on device");
    EXPECT_EQ(pushed.accepted.recno, had);
  }
  EXPECT_EQ(client_.waiting(),
            "the server stops: the file system cannot take it now: model: No space left on device");
  EXPECT_EQ(walked, 0U);
  there_.is_full = false;
  even();
  EXPECT_TRUE(there_.texts().contains("written there"));
  EXPECT_TRUE(there_.texts().contains("written here"));
}

/// The same where the time of a directory is to be made even, however often it was tried in vain.
TEST_F(TreeTest, ATimeForWhichThereIsNoRoomIsSetLater) {
  for (const std::string name : {"d", "e"}) {
    ASSERT_TRUE(there_.make(kml::Op::kMkdir, root(name), 0755));
  }
  settle();
  // The server's stays, and so d is touched on the client only.
  const auto move_to = [](ModelReplica& replica, const std::string& dir) {
    return replica.rename(root("f"), {.dir = replica.ino_at(root(dir)), .name = "f"}, false);
  };
  ASSERT_TRUE(move_to(there_, "e"));
  there_.commit();
  ASSERT_TRUE(move_to(here_, "d"));
  there_.is_full = true;
  for (unsigned i = 0; i < 10; i++) {
    client_.on_failure();
    EXPECT_EQ(push_under_load().stopped,
              "the file system cannot take it now: model: No space left on device");
  }
  there_.is_full = false;
  even();
}

/// A client whose disk is full when both are even sets the times that it knows when there is room.
TEST_F(TreeTest, AClientWithoutRoomSetsTimesLater) {
  ASSERT_TRUE(there_.make(kml::Op::kMkdir, root("d"), 0755));
  settle();
  ASSERT_TRUE(there_.make(kml::Op::kCreate, {.dir = there_.ino_at(root("d")), .name = "x"}, 0600));
  there_.commit();
  here_.commit();
  ModelReplica::Disk disk = here_.disk();
  disk.inodes.at(here_.ino_at(root("d"))).mtime = 99999;
  here_.put_back(disk);
  here_.is_full = true;
  unsigned walked = 0;
  here_.amid_walk = [&] { walked++; };
  client_.on_failure();
  for (unsigned i = 0; i < 20; i++) {
    client_.try_again();
    if (const std::optional<Request> request = client_.next()) {
      client_.on(*request, server_.answer(*request));
    }
  }
  EXPECT_EQ(client_.waiting(),
            "the file system cannot take it now: model: No space left on device");
  EXPECT_TRUE(client_.is_behind());
  EXPECT_EQ(walked, 0U);
  here_.is_full = false;
  even();
  EXPECT_EQ(client_.waiting(), "");
}

/// The same where digests differ and a name is to go, of whose body a copy is made first.
TEST_F(TreeTest, AClientWithoutRoomGivesNamesUpLater) {
  there_.lose("f");
  there_.commit();
  Server server(there_);
  here_.is_full = true;
  pass_seconds(server);
  EXPECT_EQ(client_.waiting(),
            "the file system cannot take it now: model: No space left on device");
  EXPECT_NE(here_.ino_at(root("f")), 0U);
  here_.is_full = false;
  pass_seconds(server);
  EXPECT_EQ(client_.waiting(), "");
  EXPECT_EQ(here_.ino_at(root("f")), 0U);
  EXPECT_EQ(here_.texts(), there_.texts());
}

/// A name that cannot be given up here, of an immutable file that the server does not have, is not
/// tried for ever. That something differs is said as long as it does.
TEST_F(TreeTest, ADifferenceThatStaysIsSaid) {
  here_.chattr(here_.ino_at(root("f")), FS_IMMUTABLE_FL);
  settle();
  there_.lose("f");
  Server server(there_);
  pass_seconds(server);
  EXPECT_EQ(client_.waiting(), "not all names are as on the server, and cannot be made so here");
  EXPECT_FALSE(client_.is_behind());
  here_.chattr(here_.ino_at(root("f")), 0);
  create(here_, "more");  // the digests change
  pass_seconds(server);
  EXPECT_EQ(client_.waiting(), "");
  EXPECT_EQ(here_.ino_at(root("f")), 0U);
  EXPECT_EQ(here_.texts(), there_.texts());
}

/// What our log tells about the object or the name itself is a reason to decide at once, although
/// it was not on the medium when the Push came.
TEST_F(TreeTest, WhatWasChangedJustNowIsDecidedAnewAtOnce) {
  write(here_, "f", "written there");
  here_.commit();
  write(there_, "f", "written here");  // not on the medium
  const Pushed pushed = push_under_load();
  EXPECT_EQ(pushed.stopped, "");
  EXPECT_EQ(there_.text_of(there_.ino_at(root("f"))), "written here");
  EXPECT_TRUE(there_.texts().contains("written there"));
  even();
}

/// What the kernel does not find by its number, as nobody has it in use, is looked up; it is not
/// passed since others write meanwhile, which their records say nothing about.
TEST_F(TreeTest, WhatNobodyHasInUseIsLookedUpHoweverMuchElseIsWritten) {
  here_.rename(root("f"), root("g"), false);
  write(here_, "g", "new");
  const std::uint64_t had = accepted();
  there_.is_cold = [](const Fid&) { return true; };
  const Pushed pushed = push_under_load();
  there_.is_cold = [](const Fid&) { return false; };
  EXPECT_EQ(pushed.stopped, "");
  EXPECT_EQ(pushed.accepted.recno, had + 2);
  ASSERT_NE(there_.ino_at(root("g")), 0U);
  EXPECT_EQ(there_.text_of(there_.ino_at(root("g"))), "new");
  even();
}

/// So is each of a row, at once: that one was found only so is no reason to give the next one up.
TEST_F(TreeTest, EachOfARowThatNobodyHasInUseIsLookedUp) {
  for (const std::string name : {"g", "h"}) {
    create(there_, name);
  }
  settle();
  for (const std::string name : {"f", "g", "h"}) {
    ASSERT_TRUE(there_.rename(root(name), root("new " + name), false));
  }
  there_.commit();
  here_.is_cold = [](const Fid&) { return true; };
  for (unsigned i = 0; i < 5; i++) {
    if (const std::optional<Request> request = client_.next()) {
      client_.on(*request, server_.answer(*request));
    }
    EXPECT_EQ(client_.waiting(), "");
  }
  here_.is_cold = [](const Fid&) { return false; };
  for (const std::string name : {"f", "g", "h"}) {
    EXPECT_NE(here_.ino_at(root("new " + name)), 0U) << name;
  }
  even();
}

}  // namespace
}  // namespace izo::repl
