// SPDX-License-Identifier: GPL-2.0
// How a client begins; that it converges whatever happens meanwhile is the simulation's.
#include "repl/bootstrap.h"

#include <gtest/gtest.h>
#include <linux/fs.h>

#include <algorithm>
#include <array>
#include <functional>
#include <memory>
#include <set>

#include "base/error.h"
#include "repl/client.h"
#include "repl/model_replica.h"
#include "repl/server.h"
#include "repl/test_records.h"

namespace izo::repl {
namespace {

using kml::Op;

constexpr std::uint64_t kRootIno = 2;

struct Killed {};

/// A server with a tree that is older than its log, and an empty client.
class BootstrapTest : public testing::Test {
 protected:
  BootstrapTest() {
    const std::uint64_t dir = make(Op::kMkdir, kRootIno, "d");
    write(make(Op::kCreate, dir, "x"), "theirs");
    const std::uint64_t other = make(Op::kCreate, kRootIno, "other");
    there.setxattr(other, "user.a", "1");
    there.link(other, {.dir = dir, .name = "link"});
    make(Op::kSymlink, dir, "symlink");
    there.utimes(dir, 7);
    there.forget_log();
    server = std::make_unique<Server>(there);
  }

  std::uint64_t make(Op op, std::uint64_t dir, const std::string& name) {
    const std::vector<std::uint64_t> before = there.inodes();
    EXPECT_TRUE(there.make(op, {.dir = dir, .name = name}, 0640));
    for (const std::uint64_t ino : there.inodes()) {
      if (std::find(before.begin(), before.end(), ino) == before.end()) {
        return ino;
      }
    }
    return 0;
  }

  void write(std::uint64_t ino, const std::string& text) {
    EXPECT_TRUE(there.begin_write(ino, text));
    there.end_write(ino);
  }

  /// The client's requests until it has none but to pull the end of the log; is all done then?
  bool settles(Client& client) {
    for (unsigned i = 0; i < 200; i++) {
      client.try_again();
      std::optional<Request> request = client.next();
      if (!request) {
        break;
      }
      Response response = server->answer(*request);
      const auto* pulled = std::get_if<Pulled>(&response);
      const bool end = pulled != nullptr && pulled->records.empty();
      client.on(*request, std::move(response));
      if (end && !client.is_behind()) {
        return true;
      }
    }
    return false;
  }

  void settle(Client& client) { EXPECT_TRUE(settles(client)) << client.waiting(); }

  /// A client that is killed when it has made that, and nothing else.
  void begin_and_die_behind(const ModelReplica::Place& place) {
    here.before_change = [&] {
      if (here.ino_at(place) != 0) {
        throw Killed{};
      }
    };
    {
      Client client(here);
      EXPECT_THROW(settles(client), Killed);
    }
    here.before_change = [] {};
    EXPECT_EQ(here.places().size(), 1U);
  }

  /// The same behind one file of the server's, with its body.
  ModelReplica::Place begin_and_die_behind_one_file() {
    const ModelReplica::Place alone{.dir = kRootIno, .name = "alone"};
    write(make(Op::kCreate, kRootIno, alone.name), "alone");
    there.commit();
    begin_and_die_behind(alone);
    EXPECT_EQ(here.texts(), std::set<std::string>{"alone"});
    return alone;
  }

  std::uint64_t ino_of_x() {
    for (const ModelReplica::Place& place : there.places()) {
      if (place.name == "x") {
        return there.ino_at(place);
      }
    }
    return 0;
  }

  std::optional<Received> position() { return here.received(there.state().replica); }

  /// Until the client asks for something of that kind; the request.
  template <typename T>
  T until(Client& client) {
    for (;;) {
      const Request request = client.next().value();
      if (const auto* found = std::get_if<T>(&request)) {
        return *found;
      }
      client.on(request, server->answer(request));
    }
  }

  ModelReplica there{1, true};
  ModelReplica here{2, false};
  std::unique_ptr<Server> server;
};

TEST_F(BootstrapTest, WhatIsOlderThanTheLogComesAndNothingComesBack) {
  Client client(here);
  settle(client);
  EXPECT_EQ(here.manifest(true), there.manifest(true));
  EXPECT_EQ(here.state().end, here.state().first);
  EXPECT_EQ(there.state().end, there.state().first);
  ASSERT_TRUE(position());
  EXPECT_FALSE(position()->partial);
  EXPECT_FALSE(client.copied());
}

TEST_F(BootstrapTest, WhatHasAPositionNeedsNoCopy) {
  {
    Client client(here);
    settle(client);
  }
  make(Op::kCreate, kRootIno, "later");
  there.commit();
  Client client(here);
  while (client.is_behind()) {
    const std::optional<Request> request = client.next();
    ASSERT_TRUE(request);
    EXPECT_FALSE(std::holds_alternative<Describe>(*request));
    client.on(*request, server->answer(*request));
  }
  EXPECT_EQ(here.manifest(true), there.manifest(true));
}

TEST_F(BootstrapTest, AnInterruptedOneGoesOnWithTheLogFirst) {
  Client client(here);
  until<Fetch>(client);
  EXPECT_EQ(position(), (Received{.epoch = there.state().epoch,
                                  .recno = 0,
                                  .offset = there.state().first,
                                  .partial = true}));
  make(Op::kCreate, kRootIno, "later");
  there.commit();
  Client again(here);
  until<Describe>(again);
  EXPECT_EQ(
      position(),
      (Received{
          .epoch = there.state().epoch, .recno = 1, .offset = there.state().end, .partial = true}));
  again.on_failure();
  settle(again);
  EXPECT_EQ(here.manifest(true), there.manifest(true));
}

TEST_F(BootstrapTest, ALostAnswerIsAskedForAgain) {
  Client client(here);
  for (const bool late : {false, true}) {
    if (late) {
      until<Fetch>(client);
    } else {
      until<Describe>(client);
    }
    client.on_failure();
  }
  settle(client);
  EXPECT_EQ(here.manifest(true), there.manifest(true));
}

TEST_F(BootstrapTest, WhatIsWrittenBeforeTheBodyComesIsAConflict) {
  const auto file = [&] {
    for (const ModelReplica::Place& place : here.places()) {
      if (place.name == "x") {
        return here.ino_at(place);
      }
    }
    return std::uint64_t{0};
  };
  here.before_body = [&] {
    if (file() != 0 && here.text_of(file()).empty()) {
      here.begin_write(file(), "mine");
    }
  };
  Client client(here);
  EXPECT_FALSE(settles(client));
  EXPECT_TRUE(position()->partial);
  EXPECT_EQ(client.waiting(), "a file is being changed here");
  // What is behind it, and what comes later, is there.
  make(Op::kCreate, kRootIno, "later");
  there.commit();
  EXPECT_FALSE(settles(client));
  EXPECT_EQ(here.places().size(), there.places().size());
  here.end_write(file());
  here.commit();
  settle(client);
  EXPECT_EQ(here.manifest(true), there.manifest(true));
  EXPECT_EQ(there.texts(), (std::set<std::string>{"", "mine", "theirs"}));
  EXPECT_EQ(here.text_of(file()), "mine");
}

TEST_F(BootstrapTest, TheEchoOfWhatWasWrittenDoesNotSupersedeTheServersBody) {
  std::uint64_t mine = 0;
  here.before_body = [&] {
    for (const ModelReplica::Place& place : here.places()) {
      if (place.name == "x" && mine == 0) {
        mine = here.ino_at(place);
        here.begin_write(mine, "mine");
      }
    }
  };
  Client client(here);
  EXPECT_FALSE(settles(client));
  ASSERT_NE(mine, 0U);
  const Request pull = until<Pull>(client);
  here.end_write(mine);
  here.commit();
  const Request push = client.next().value();
  ASSERT_TRUE(std::holds_alternative<Push>(push));
  Response pushed = server->answer(push);
  client.on(pull, server->answer(pull));
  // The echo is applied before anybody looks at what was late.
  const Request next = client.next().value();
  client.on(push, std::move(pushed));
  client.on(next, server->answer(next));
  settle(client);
  EXPECT_EQ(here.manifest(true), there.manifest(true));
  EXPECT_EQ(there.texts(), (std::set<std::string>{"", "mine", "theirs"}));
}

/// Its users change something whenever it asks, so there is always something to push.
TEST_F(BootstrapTest, ItEndsAlsoWhereThereIsAlwaysSomethingToPush) {
  Client client(here);
  unsigned asked = 0;
  const auto is_copied = [&] { return position() && !position()->partial; };
  for (; asked < 100 && !is_copied(); asked++) {
    here.make(Op::kCreate, {.dir = kRootIno, .name = "own " + std::to_string(asked)}, 0600);
    here.commit();
    // One to pull, and another.
    const std::optional<Request> one = client.next();
    const std::optional<Request> other = client.next();
    for (const std::optional<Request>& request : {one, other}) {
      if (request) {
        client.on(*request, server->answer(*request));
      }
    }
  }
  EXPECT_LT(asked, 100U);
  settle(client);
  EXPECT_EQ(here.manifest(true), there.manifest(true));
}

/// While it waits for the end of the server's log nothing else makes it ask.
TEST_F(BootstrapTest, WhatWaitedForTheCopyIsAskedForAtItsEnd) {
  Client client(here);
  const Request describe = until<Describe>(client);
  write(ino_of_x(), "newer");
  there.commit();
  const Request pull = until<Pull>(client);
  client.on(pull, server->answer(pull));
  const Request end = until<Pull>(client);
  client.on(describe, server->answer(describe));
  const Request bodies = client.next().value();
  client.on(bodies, server->answer(bodies));
  const std::optional<Request> newer = client.next();
  ASSERT_TRUE(newer && std::holds_alternative<Fetch>(*newer));
  client.on(*newer, server->answer(*newer));
  EXPECT_FALSE(client.next());
  EXPECT_EQ(here.texts(), (std::set<std::string>{"", "newer"}));
  client.on(end, server->answer(end));
  settle(client);
}

TEST_F(BootstrapTest, AFileAndItsBodyAreOneStep) {
  unsigned empty = 0;
  here.before_change = [&] {
    for (const ModelReplica::Place& place : here.places()) {
      empty += place.name == "x" && here.text_of(here.ino_at(place)).empty() ? 1U : 0U;
    }
  };
  Client client(here);
  settle(client);
  EXPECT_EQ(empty, 0U);
}

TEST_F(BootstrapTest, AFlagOfLaterDoesNotKeepOutWhatTheLogHasBefore) {
  Client client(here);
  const auto describe = until<Describe>(client);
  const std::uint64_t x = ino_of_x();
  write(x, "later");
  there.setxattr(x, "user.b", "2");
  there.chattr(x, FS_IMMUTABLE_FL);
  there.commit();
  client.on(describe, server->answer(describe));
  settle(client);
  EXPECT_EQ(here.manifest(true), there.manifest(true));
  EXPECT_NE(here.manifest(true).find("flags 16"), std::string::npos);
}

TEST_F(BootstrapTest, AFlagThatTheLogTakesAwayIsNotSetAfterwards) {
  there.chattr(ino_of_x(), FS_IMMUTABLE_FL);
  there.commit();
  Client client(here);
  const auto describe = until<Describe>(client);
  there.chattr(ino_of_x(), FS_NODUMP_FL);
  there.commit();
  Response described = server->answer(describe);
  // As if it had been described just before.
  for (const Record& record : std::get<Described>(described).records) {
    if (record.attr && record.object.ino == ino_of_x() && record.op == Op::kCreate) {
      Record seal = record;
      seal.op = Op::kSetattr;
      seal.attr = kml::Attr{.valid = IZO_ATTR_FSFLAGS, .fsflags = FS_IMMUTABLE_FL};
      seal.place.reset();
      std::get<Described>(described).records.push_back(seal);
      break;
    }
  }
  client.on(describe, std::move(described));
  settle(client);
  EXPECT_EQ(here.manifest(true), there.manifest(true));
  EXPECT_NE(here.manifest(true).find("flags 64"), std::string::npos);
}

TEST_F(BootstrapTest, WhatAnInterruptedCopyLacksComesIntoSealedDirectoriesToo) {
  here.before_change = [&] {
    if (!here.places().empty()) {
      throw Killed{};
    }
  };
  {
    Client client(here);
    EXPECT_THROW(settles(client), Killed);
  }
  here.before_change = [] {};
  ASSERT_EQ(here.places().size(), 1U);
  ASSERT_EQ(here.places().front().name, "d");
  for (const ModelReplica::Place& place : there.places()) {
    if (place.name == "d") {
      there.chattr(there.ino_at(place), FS_IMMUTABLE_FL);
    }
  }
  there.commit();
  Client client(here);
  settle(client);
  EXPECT_EQ(here.manifest(true), there.manifest(true));
  EXPECT_NE(here.manifest(true).find("flags 16"), std::string::npos);
}

TEST_F(BootstrapTest, AFileThatIsReplacedByOneThatIsNotHereYetLeavesNoCopy) {
  const ModelReplica::Place alone = begin_and_die_behind_one_file();
  for (const ModelReplica::Place& place : there.places()) {
    if (place.name == "x") {
      ASSERT_TRUE(there.rename(place, alone, false));
    }
  }
  there.commit();
  Client client(here);
  settle(client);
  EXPECT_EQ(here.manifest(true), there.manifest(true));
  EXPECT_EQ(here.texts(), (std::set<std::string>{"", "theirs"}));
}

TEST_F(BootstrapTest, WhatIsRemovedHereMeanwhileDoesNotComeBack) {
  const ModelReplica::Place alone = begin_and_die_behind_one_file();
  Client client(here);
  const auto describe = until<Describe>(client);
  // The server has named it, and does not know.
  EXPECT_TRUE(here.unlink(alone));
  here.commit();
  Response described = server->answer(describe);
  here.before_change = [&] { EXPECT_EQ(here.ino_at(alone), 0U); };
  client.on(describe, std::move(described));
  settle(client);
  EXPECT_EQ(here.manifest(true), there.manifest(true));
  EXPECT_EQ(there.ino_at(alone), 0U);
  EXPECT_EQ(there.texts(), (std::set<std::string>{"", "theirs"}));
}

TEST_F(BootstrapTest, ADirectoryThatIsRemovedBeforeItsContentHasComeStaysOnTheServer) {
  const ModelReplica::Place dir{.dir = kRootIno, .name = "d"};
  begin_and_die_behind(dir);
  EXPECT_TRUE(here.unlink(dir));
  here.commit();
  const std::string before = there.manifest(false);
  Client client(here);
  settle(client);
  EXPECT_EQ(there.manifest(false), before);
  EXPECT_EQ(here.manifest(true), there.manifest(true));
}

TEST_F(BootstrapTest, ARemovalThatIsPushedWhenTheCopyIsWholeDoesNotEmptyADirectory) {
  const ModelReplica::Place dir{.dir = kRootIno, .name = "d"};
  bool removed = false;
  here.before_change = [&] { removed = removed || (here.ino_at(dir) != 0 && here.unlink(dir)); };
  const std::string before = there.manifest(false);
  Client client(here);
  settle(client);
  EXPECT_TRUE(removed);
  EXPECT_EQ(there.manifest(false), before);
  EXPECT_EQ(here.manifest(true), there.manifest(true));
}

TEST_F(BootstrapTest, ADirectoryThatIsRemovedOftenComesOften) {
  const ModelReplica::Place dir{.dir = kRootIno, .name = "d"};
  unsigned removed = 0;
  here.before_change = [&] {
    removed += removed < 5 && here.ino_at(dir) != 0 && here.unlink(dir) ? 1U : 0U;
  };
  const std::string before = there.manifest(false);
  Client client(here);
  settle(client);
  EXPECT_EQ(removed, 5U);
  EXPECT_EQ(there.manifest(false), before);
  EXPECT_EQ(here.manifest(true), there.manifest(true));
}

TEST_F(BootstrapTest, WhatIsSetHereMeanwhileStays) {
  const ModelReplica::Place alone = begin_and_die_behind_one_file();
  there.setxattr(there.ino_at(alone), "user.a", std::string(2000, 'a'));
  there.commit();
  Client client(here);
  const auto describe = until<Describe>(client);
  Response described = server->answer(describe);
  here.setxattr(here.ino_at(alone), "user.a", "mine");
  here.commit();
  client.on(describe, std::move(described));
  settle(client);
  EXPECT_EQ(here.manifest(true), there.manifest(true));
  EXPECT_NE(there.manifest(true).find("user.a=mine"), std::string::npos);
}

/// A mode and an ACL are one aspect, but nobody else would tell the ACL.
TEST_F(BootstrapTest, TheServersAclComesToWhatHadItsModeChangedHere) {
  EXPECT_TRUE(there.setxattr(kRootIno, kAcl, "theirs"));
  there.commit();
  EXPECT_TRUE(here.chmod(kRootIno, 0711));
  here.commit();
  Client client(here);
  settle(client);
  EXPECT_EQ(here.manifest(true), there.manifest(true));
  EXPECT_NE(here.manifest(true).find("acl_access=theirs"), std::string::npos);
}

TEST_F(BootstrapTest, TheServersAclDoesNotComeOverOneMadeHere) {
  EXPECT_TRUE(there.setxattr(kRootIno, kAcl, "theirs"));
  there.forget_log();
  server = std::make_unique<Server>(there);
  EXPECT_TRUE(here.setxattr(kRootIno, kAcl, "mine"));
  here.commit();
  bool lost = false;
  here.before_change = [&] {
    lost = lost || here.manifest(false).find("=theirs") != std::string::npos;
  };
  Client client(here);
  settle(client);
  EXPECT_EQ(here.manifest(true), there.manifest(true));
  EXPECT_NE(here.manifest(true).find("acl_access=mine"), std::string::npos);
  EXPECT_FALSE(lost);
}

TEST_F(BootstrapTest, TheDigestThatCameMeanwhileCountsWhenTheCopyIsWhole) {
  // The root is ours, so what the server says of it is passed, its time too.
  EXPECT_TRUE(here.chmod(kRootIno, 0711));
  EXPECT_TRUE(here.make(Op::kMkdir, {.dir = kRootIno, .name = "mine"}, 0755));
  here.commit();
  make(Op::kMkdir, kRootIno, "later");
  there.commit();
  Client client(here);
  const Request describe = until<Describe>(client);
  for (bool more = true; more;) {
    const Request pull = client.next().value();
    const auto pulled = std::get<Pulled>(server->answer(pull));
    more = !pulled.records.empty();
    client.on(pull, pulled);
  }
  // It is told once; the server's daemon does not repeat it.
  const Request pull = client.next().value();
  client.on(pull, Pulled{.records = {},
                         .next = std::get<Pull>(pull).offset,
                         .table = there.state().table,
                         .digest = {},
                         .echoed = 0});
  // The next one is under way when the copy is whole: nobody asks the client again.
  EXPECT_TRUE(std::holds_alternative<Pull>(client.next().value()));
  client.on(describe, server->answer(describe));
  while (std::optional<Request> request = client.next()) {
    client.on(*request, server->answer(*request));
  }
  EXPECT_FALSE(client.copied());
  EXPECT_FALSE(client.is_behind());
  EXPECT_EQ(here.manifest(true), there.manifest(true));
}

TEST_F(BootstrapTest, WhatIsInADirectoryThatIsNotFoundWaitsForIt) {
  unsigned times = 0;
  there.is_on_its_way = [&](const Fid& fid) { return fid.ino == 11 && ++times < 60; };
  Client client(here);
  settle(client);
  EXPECT_GE(times, 60U);
  EXPECT_EQ(here.manifest(true), there.manifest(true));
  // Nothing was put elsewhere and moved there.
  EXPECT_EQ(here.state().end, here.state().first);
}

TEST_F(BootstrapTest, WhatWasReplacedWhileItWasDescribedLeavesNoCopy) {
  const std::uint64_t b = make(Op::kCreate, kRootIno, "b");
  write(b, "b");
  const std::uint64_t x = ino_of_x();
  there.commit();
  bool hides = true;
  there.is_on_its_way = [&](const Fid& fid) { return hides && fid.ino == x; };
  Client client(here);
  const auto first = until<Describe>(client);
  client.on(first, server->answer(first));
  // b is described, and x is asked for once more.
  const auto second = until<Describe>(client);
  ASSERT_EQ(second.fids.size(), 1U);
  const ModelReplica::Place place{.dir = kRootIno, .name = "b"};
  for (const ModelReplica::Place& one : there.places()) {
    if (one.name == "x") {
      ASSERT_TRUE(there.rename(one, place, false));
    }
  }
  EXPECT_TRUE(there.unlink(place));
  there.commit();
  hides = false;
  client.on(second, server->answer(second));
  settle(client);
  EXPECT_EQ(here.manifest(true), there.manifest(true));
  EXPECT_EQ(there.manifest(true).find(".conflict-"), std::string::npos);
}

TEST_F(BootstrapTest, WhatIsFoundLateComesIntoASealedDirectory) {
  for (const ModelReplica::Place& place : there.places()) {
    if (place.name == "d") {
      there.chattr(there.ino_at(place), FS_IMMUTABLE_FL);
    }
  }
  there.commit();
  const std::uint64_t x = ino_of_x();
  unsigned times = 0;
  there.is_on_its_way = [&](const Fid& fid) { return fid.ino == x && ++times < 100; };
  Client client(here);
  settle(client);
  EXPECT_EQ(here.manifest(true), there.manifest(true));
  EXPECT_NE(here.manifest(true).find("flags 16"), std::string::npos);
}

TEST_F(BootstrapTest, WhatCannotBeHereIsAskedForOnce) {
  here.refuses = [](const Record& record) { return record.op == Op::kMkdir; };
  Client client(here);
  settle(client);
  EXPECT_FALSE(position()->partial);
  EXPECT_EQ(here.texts(), std::set<std::string>{""});
  for (unsigned i = 0; i < 3; i++) {
    make(Op::kCreate, kRootIno, "later" + std::to_string(i));
    there.commit();
    for (unsigned requests = 0; requests < 20; requests++) {
      const Request request = client.next().value();
      EXPECT_FALSE(std::holds_alternative<Describe>(request));
      client.on(request, server->answer(request));
    }
  }
  EXPECT_EQ(here.places().size(), 4U);
}

TEST_F(BootstrapTest, AnOwnFileOfTheSameNameGivesWay) {
  here.make(Op::kCreate, {.dir = kRootIno, .name = "other"}, 0600);
  here.begin_write(here.inodes().front(), "mine");
  here.end_write(here.inodes().front());
  here.commit();
  Client client(here);
  settle(client);
  EXPECT_EQ(here.manifest(true), there.manifest(true));
  EXPECT_EQ(there.texts(), (std::set<std::string>{"", "mine", "theirs"}));
}

TEST_F(BootstrapTest, WhatHasGoneMeanwhileIsNotMade) {
  Client client(here);
  const auto describe = until<Describe>(client);
  for (const ModelReplica::Place& place : there.places()) {
    if (place.name == "x") {
      there.unlink(place);
    }
  }
  there.commit();
  client.on(describe, server->answer(describe));
  settle(client);
  EXPECT_EQ(here.manifest(true), there.manifest(true));
  EXPECT_FALSE(here.texts().contains("theirs"));
}

TEST_F(BootstrapTest, WhatIsNotFoundNowIsAskedForAgain) {
  unsigned times = 0;
  there.is_on_its_way = [&](const Fid& fid) { return fid.ino % 2 == 0 && ++times < 60; };
  Client client(here);
  settle(client);
  EXPECT_EQ(here.manifest(true), there.manifest(true));
  EXPECT_GE(times, 60U);
}

TEST_F(BootstrapTest, WhatIsMissingLaterIsCopiedToo) {
  {
    Client client(here);
    settle(client);
  }
  // Nothing in either log says that it went.
  here.lose("x");
  Client client(here);
  settle(client);
  EXPECT_EQ(here.manifest(true), there.manifest(true));
  EXPECT_FALSE(position()->partial);
}

TEST_F(BootstrapTest, ACopyThatDoesNotKnowOfWhenNeedsTheWholeLog) {
  {
    Client client(here);
    settle(client);
  }
  Client client(here);
  const Request hello = client.next().value();
  Welcome stranger{.replica = {99},
                   .epoch = 7,
                   .table = {Uuid{99}},
                   .first = 4096,
                   .first_recno = 5,
                   .accepted = {}};
  EXPECT_THROW(client.on(hello, stranger), Error);
  Client other(here);
  const Request again = other.next().value();
  stranger.first_recno = 1;
  other.on(again, stranger);
  const Request next = other.next().value();
  ASSERT_TRUE(std::holds_alternative<Pull>(next));
  EXPECT_EQ(std::get<Pull>(next).offset, 4096U);
}

TEST_F(BootstrapTest, WhatDescribesNothingIsRefused) {
  const auto described = [&](const std::function<void(Described&)>& change) {
    ModelReplica fresh{3, false};
    Client client(fresh);
    const auto describe = until<Describe>(client);
    auto answer = std::get<Described>(server->answer(describe));
    change(answer);
    client.on(describe, std::move(answer));
  };
  EXPECT_NO_THROW(described([](Described&) {}));
  const std::array<std::function<void(Described&)>, 4> wrongs{
      [](Described& one) { one.records.back().op = Op::kUnlink; },
      [](Described& one) { one.records.back().epoch++; },
      [](Described& one) { one.records.back().object.replica = 999; },
      [](Described& one) { one.records.back().object = kml::kRootFid; }};
  for (const auto& wrong : wrongs) {
    EXPECT_THROW(described(wrong), Error);
  }
}

TEST_F(BootstrapTest, NamesThatNoDirectoryLeadsToAreLeftOut) {
  Client client(here);
  const auto list = until<List>(client);
  auto listed = std::get<Listed>(server->answer(list));
  const Fid one{.replica = 1, .ino = 1001, .generation = 1};
  const Fid other{.replica = 1, .ino = 1002, .generation = 1};
  // Each within the other; nowhere; the root within itself.
  listed.entries.push_back({.name = {.dir = one, .name = "a"}, .fid = other});
  listed.entries.push_back({.name = {.dir = other, .name = "b"}, .fid = one});
  listed.entries.push_back(
      {.name = {.dir = {.replica = 1, .ino = 1003, .generation = 1}, .name = "c"},
       .fid = {.replica = 1, .ino = 1004, .generation = 1}});
  listed.entries.push_back({.name = in_root("self"), .fid = kml::kRootFid});
  client.on(list, std::move(listed));
  settle(client);
  EXPECT_EQ(here.manifest(true), there.manifest(true));
}

/// A body that the server cannot read, as its disk is bad there, keeps nothing else away, whatever
/// its place; its file is named, and comes with all its names once it can be read. Only it is asked
/// for again meanwhile, unless its directory is to be sealed.
TEST_F(BootstrapTest, ABodyThatCannotBeReadKeepsNothingElseAway) {
  for (const bool sealed : {false, true}) {
    const std::uint64_t dir = make(Op::kMkdir, kRootIno, sealed ? "e" : "c");
    const std::uint64_t bad = make(Op::kCreate, dir, "bad");
    write(bad, "bad");
    there.link(bad, {.dir = make(Op::kMkdir, dir, "deeper"), .name = "link"});
    for (unsigned i = 0; i < 300; i++) {
      write(make(Op::kCreate, dir, "file " + std::to_string(i)), "body");
    }
    there.chattr(make(Op::kCreate, dir, "other"), FS_IMMUTABLE_FL);
    if (sealed) {
      there.chattr(dir, FS_IMMUTABLE_FL);
    }
    there.commit();
    const Fid fid = there.disk().inodes.at(bad).fid;
    there.is_leased = [&](const Fid& one) { return one == fid; };
    server = std::make_unique<Server>(there);
    ModelReplica replica(static_cast<std::uint8_t>(sealed ? 4 : 5), false);
    Client client(replica);
    std::size_t described = 0;
    const auto pass_seconds = [&](unsigned seconds) {
      for (unsigned second = 0; second < seconds; second++) {
        client.try_again();
        for (unsigned turn = 0; turn < 10; turn++) {
          if (const std::optional<Request> request = client.next()) {
            const auto* describe = std::get_if<Describe>(&*request);
            described += describe != nullptr ? describe->fids.size() : 0;
            client.on(*request, server->answer(*request));
          }
        }
      }
    };
    pass_seconds(20);
    EXPECT_EQ(replica.inodes().size(), there.inodes().size() - 1) << sealed;
    EXPECT_EQ(replica.places().size(), there.places().size() - 2) << sealed;
    EXPECT_EQ(client.waiting(),
              "not all of the server's tree could be copied yet: bad cannot be read on the server");
    // The log goes on.
    make(Op::kCreate, kRootIno, sealed ? "later than e" : "later than c");
    there.commit();
    described = 0;
    pass_seconds(200);
    EXPECT_NE(replica.ino_at({.dir = kRootIno, .name = sealed ? "later than e" : "later than c"}),
              0U);
    EXPECT_GE(described, 1U) << sealed;
    if (!sealed) {
      EXPECT_LE(described, 10U);
    }
    // What is sealed meanwhile is so in the end.
    there.chattr(there.ino_at({.dir = kRootIno, .name = sealed ? "later than e" : "later than c"}),
                 FS_IMMUTABLE_FL);
    there.commit();
    pass_seconds(20);
    there.is_leased = [](const Fid&) { return false; };
    pass_seconds(200);
    EXPECT_EQ(replica.manifest(true), there.manifest(true));
    EXPECT_EQ(client.waiting(), "");
    EXPECT_FALSE(client.is_behind());
  }
}

TEST_F(BootstrapTest, NamesOfAnotherLifeAreRefused) {
  Client client(here);
  const auto list = until<List>(client);
  auto listed = std::get<Listed>(server->answer(list));
  listed.at.epoch++;
  EXPECT_THROW(client.on(list, std::move(listed)), Error);
  EXPECT_FALSE(position());
}

}  // namespace
}  // namespace izo::repl
