// SPDX-License-Identifier: GPL-2.0
// What peers must not do to each other, and what is answered; how changes come together is the
// simulation's.
#include "repl/server.h"

#include <gtest/gtest.h>
#include <linux/fs.h>

#include <map>
#include <tuple>

#include "base/error.h"
#include "repl/client.h"
#include "repl/conflict_name.h"
#include "repl/model_replica.h"
#include "repl/test_records.h"

namespace izo::repl {
namespace {

constexpr std::uint64_t kRootIno = 2;

void create(ModelReplica& replica, const std::string& name) {
  replica.make(kml::Op::kCreate, {.dir = kRootIno, .name = name}, 0600);
  replica.commit();
}

struct Pair {
  ModelReplica there{1, true};
  ModelReplica here{2, false};
  Server server{there};

  /// One client's requests, until it has none but to pull the end of the log.
  void settle(Client& client) {
    for (unsigned i = 0; i < 100; i++) {
      const std::optional<Request> request = client.next();
      if (!request) {
        return;
      }
      Response response = server.answer(*request);
      const auto* pulled = std::get_if<Pulled>(&response);
      const bool end = pulled != nullptr && pulled->records.empty();
      client.on(*request, std::move(response));
      if (end && !client.is_behind()) {
        return;
      }
    }
    FAIL() << client.waiting();
  }
  Push push(const Record& record) {
    const Replica::State state = here.state();
    return {.replica = state.replica,
            .epoch = state.epoch,
            .table = state.table,
            .records = {record},
            .bodies = {nullptr}};
  }
  Record first_record() {
    here.make(kml::Op::kCreate, {.dir = kRootIno, .name = "x"}, 0600);
    here.commit();
    return here.read(0 + here.state().first).records.front();
  }
  void hello() {
    const Replica::State state = here.state();
    server.answer(Hello{.replica = state.replica, .epoch = state.epoch, .table = state.table});
  }
  std::string refusal(const Request& request) {
    const Response response = server.answer(request);
    const auto* refusal = std::get_if<Refusal>(&response);
    return refusal != nullptr ? refusal->why : "";
  }
};

TEST(Server, TakesOnlyWhatIsTheClientsOwn) {
  Pair pair;
  const Record record = pair.first_record();
  EXPECT_NE(pair.refusal(pair.push(record)), "");  // no hello yet
  pair.hello();
  Record forged = record;
  forged.origin = 0;
  EXPECT_NE(pair.refusal(pair.push(forged)), "");
  forged = record;
  forged.epoch++;
  EXPECT_NE(pair.refusal(pair.push(forged)), "");
  forged = record;
  forged.object.replica = 9;
  EXPECT_NE(pair.refusal(pair.push(forged)), "");
  forged = record;
  forged.object.replica = 0;
  EXPECT_NE(pair.refusal(pair.push(forged)), "");
  EXPECT_TRUE(pair.there.inodes().empty());
  EXPECT_EQ(pair.refusal(pair.push(record)), "");
  EXPECT_FALSE(pair.there.inodes().empty());
}

TEST(Server, OnceIsEnoughAndGapsAreNot) {
  Pair pair;
  const Record record = pair.first_record();
  pair.hello();
  Record later = record;
  later.recno = 2;
  const auto accepted = [&](const Record& one) {
    return std::get<Pushed>(pair.server.answer(pair.push(one))).accepted.recno;
  };
  EXPECT_EQ(accepted(later), 0U);
  EXPECT_EQ(accepted(record), 1U);
  EXPECT_EQ(accepted(record), 1U);
  EXPECT_EQ(pair.there.places().size(), 1U);
}

TEST(Server, RefusesAnotherLifeOfItsLog) {
  Pair pair;
  pair.hello();
  const auto refusal = [&](std::uint64_t epoch, std::uint64_t offset) {
    return pair.refusal(
        Pull{.replica = pair.here.state().replica, .epoch = epoch, .offset = offset, .recno = 0});
  };
  EXPECT_EQ(refusal(99, 120), "the server's log has begun anew");
  EXPECT_EQ(refusal(7, 0), "the server does not have the records any more that the client needs");
  EXPECT_EQ(refusal(7, 120), "");
}

/// What of the old log had not come would be missing for good, and nobody would know; and what came
/// has numbers that mean other records now.
TEST(Server, RefusesAnotherLifeOfAClientsLog) {
  Pair pair;
  const Record record = pair.first_record();
  pair.hello();
  const Replica::State state = pair.here.state();
  const std::optional<Received> had = pair.there.received(state.replica);
  const Hello anew{.replica = state.replica, .epoch = state.epoch + 1, .table = state.table};
  EXPECT_EQ(pair.refusal(anew),
            "the client's log has begun anew: save what has changed on it since, and make it anew, "
            "empty or as a copy of the server's disk (mkizofs --clone --of-server)");
  EXPECT_EQ(pair.there.received(state.replica), had);
  Push push = pair.push(record);
  push.epoch = anew.epoch;
  push.records.front().epoch = anew.epoch;
  EXPECT_EQ(pair.refusal(push), "the client has not said hello");
  EXPECT_TRUE(pair.there.inodes().empty());
  // The one that it knows is as good as before.
  EXPECT_EQ(pair.refusal(pair.push(record)), "");
  EXPECT_FALSE(pair.there.inodes().empty());
}

TEST(Server, RefusesToReadWhereNoRecordIs) {
  Pair pair;
  pair.there.make(kml::Op::kCreate, {.dir = kRootIno, .name = "x"}, 0600);
  pair.there.commit();
  const std::size_t known = pair.there.state().table.size();
  const auto refusal = [&](std::uint64_t offset) {
    return pair.refusal(
        Pull{.replica = pair.here.state().replica, .epoch = 7, .offset = offset, .recno = 0});
  };
  EXPECT_EQ(refusal(120), "the client has not said hello");
  EXPECT_EQ(pair.there.state().table.size(), known);
  pair.hello();
  EXPECT_EQ(refusal(120), "");
  EXPECT_EQ(refusal(121), "model: no record begins there");
  EXPECT_EQ(refusal(pair.there.state().end), "");
  EXPECT_EQ(refusal(pair.there.state().end + 1),
            "the server's log ends before what the client has of it");
  EXPECT_EQ(refusal(UINT64_MAX), "the server's log ends before what the client has of it");
}

/// Else the client's records would wait for as long as it is so.
TEST(Server, KeepsACopyInTheRootIfTheDirectoryTakesNone) {
  Pair pair;
  Client client(pair.here);
  pair.there.make(kml::Op::kMkdir, {.dir = kRootIno, .name = "d"}, 0700);
  const std::uint64_t dir = pair.there.ino_at({.dir = kRootIno, .name = "d"});
  pair.there.make(kml::Op::kCreate, {.dir = dir, .name = "f"}, 0600);
  pair.there.commit();
  pair.settle(client);
  const std::uint64_t dir_here = pair.here.ino_at({.dir = kRootIno, .name = "d"});
  for (const auto& [replica, text, in] :
       {std::tuple(&pair.there, "there", dir), std::tuple(&pair.here, "here", dir_here)}) {
    const std::uint64_t file = replica->ino_at({.dir = in, .name = "f"});
    replica->begin_write(file, text);
    replica->end_write(file);
    replica->commit();
  }
  pair.there.chattr(dir, FS_IMMUTABLE_FL);
  pair.there.commit();
  pair.settle(client);
  std::map<std::string, std::string> copies;
  for (const ModelReplica::Place& place : pair.there.places()) {
    if (original_name(place.name)) {
      EXPECT_EQ(place.dir, kRootIno);
      copies[*original_name(place.name)] = pair.there.text_of(pair.there.ino_at(place));
    }
  }
  EXPECT_EQ(copies, (std::map<std::string, std::string>{{"f", "here"}}));
  EXPECT_EQ(pair.here.manifest(true), pair.there.manifest(true));
}

TEST(Client, TakesNoAnswerToWhatItDidNotAsk) {
  Pair pair;
  Client client(pair.here);
  const std::optional<Request> hello = client.next();
  ASSERT_TRUE(hello);
  EXPECT_THROW(client.on(*hello, Pushed{}), Error);
}

TEST(Client, AListOfAnEarlierEndIsNotTheTree) {
  Pair pair;
  Client client(pair.here);
  pair.there.make(kml::Op::kCreate, {.dir = kRootIno, .name = "x"}, 0600);
  pair.there.commit();
  pair.settle(client);
  const std::string before = pair.here.manifest(true);
  ASSERT_NE(before, "");
  // It was asked for when the tree was empty.
  client.on(List{.offset = 120}, Listed{.is_current = true, .entries = {}});
  EXPECT_EQ(pair.here.manifest(true), before);
  pair.settle(client);
  EXPECT_EQ(pair.here.manifest(true), pair.there.manifest(true));
}

TEST(Client, RecordsWithAGapAreNotApplied) {
  Pair pair;
  Client client(pair.here);
  pair.settle(client);
  pair.there.make(kml::Op::kCreate, {.dir = kRootIno, .name = "x"}, 0600);
  pair.there.make(kml::Op::kCreate, {.dir = kRootIno, .name = "y"}, 0600);
  pair.there.commit();
  const std::optional<Request> pull = client.next();
  Response response = pair.server.answer(*pull);
  auto& records = std::get<Pulled>(response).records;
  records.erase(records.begin());
  EXPECT_THROW(client.on(*pull, response), Error);
  EXPECT_TRUE(pair.here.inodes().empty());
}

TEST(Client, DoesNotGoOnWithALogThatHasBegunAnew) {
  Pair pair;
  Client client(pair.here);
  pair.there.make(kml::Op::kCreate, {.dir = kRootIno, .name = "x"}, 0600);
  pair.there.commit();
  pair.settle(client);
  const std::string before = pair.here.manifest(true);
  const std::optional<Received> had = pair.here.received(pair.there.state().replica);
  ASSERT_TRUE(had);
  pair.there.make(kml::Op::kCreate, {.dir = kRootIno, .name = "y"}, 0600);
  pair.there.commit();
  client.on_failure();
  const std::optional<Request> hello = client.next();
  ASSERT_TRUE(hello && std::holds_alternative<Hello>(*hello));
  Welcome welcome = std::get<Welcome>(pair.server.answer(*hello));
  welcome.epoch++;
  try {
    client.on(*hello, welcome);
    FAIL() << "it goes on";
  } catch (const Error& error) {
    EXPECT_STREQ(
        error.what(),
        "the server's log has begun anew: this replica cannot go on from what it has; save "
        "what has changed on it since, and make it anew, empty or as a copy of the server's disk "
        "(mkizofs --clone --of-server)");
  }
  EXPECT_EQ(pair.here.manifest(true), before);
  EXPECT_EQ(pair.here.received(welcome.replica), had);
  // Nothing is asked of that log, but once more who the server is.
  const std::optional<Request> again = client.next();
  ASSERT_TRUE(again && std::holds_alternative<Hello>(*again));
  // With the log that it knows it goes on.
  client.on(*again, pair.server.answer(*again));
  pair.settle(client);
  EXPECT_EQ(pair.here.manifest(true), pair.there.manifest(true));
}

/// Not everything that keeps the server from applying a record ends with one in its log, for which
/// the client waits: it pushes again by itself, ever more seldom.
TEST(Client, PushesAgainWhatTheServerCouldNotApply) {
  Pair pair;
  Client client(pair.here);
  pair.settle(client);
  pair.first_record();
  std::optional<Request> request = client.next();
  for (; !std::holds_alternative<Push>(request.value()); request = client.next()) {
    client.on(*request, pair.server.answer(*request));
  }
  EXPECT_EQ(client.waiting(), "");
  const Received had = pair.there.received(pair.here.state().replica).value();
  for (const unsigned calls : {1U, 2U, 4U}) {
    client.on(*request, Pushed{.accepted = had, .stopped = "a file is being changed here"});
    EXPECT_EQ(client.waiting(), "the server stops: a file is being changed here");
    for (unsigned i = 0; i < calls; i++) {
      request = client.next();
      EXPECT_TRUE(!request || std::holds_alternative<Pull>(*request)) << calls << " " << i;
      client.try_again();
    }
    request = client.next();
    ASSERT_TRUE(request && std::holds_alternative<Push>(*request)) << calls;
  }
  client.on(*request, pair.server.answer(*request));
  EXPECT_EQ(client.waiting(), "");
  EXPECT_EQ(pair.there.manifest(true), pair.here.manifest(true));
}

/// Nor does it push again because more is changed here, which stops the server all the same: each
/// Push may bring the same bodies once more.
TEST(Client, DoesNotPushAgainForWhatIsChangedHereMeanwhile) {
  Pair pair;
  Client client(pair.here);
  pair.settle(client);
  create(pair.here, "front");
  std::optional<Request> request = client.next();
  for (; !std::holds_alternative<Push>(request.value()); request = client.next()) {
    client.on(*request, pair.server.answer(*request));
  }
  const Received had = pair.there.received(pair.here.state().replica).value();
  unsigned made = 0;
  for (const unsigned calls : {1U, 2U, 4U}) {
    client.on(*request, Pushed{.accepted = had, .stopped = "a file is being changed here"});
    for (unsigned i = 0; i < calls; i++) {
      for (unsigned more = 0; more < 3; more++) {
        create(pair.here, "more " + std::to_string(made++));
        request = client.next();
        EXPECT_TRUE(!request || std::holds_alternative<Pull>(*request)) << calls << " " << i;
      }
      client.try_again();
    }
    request = client.next();
    ASSERT_TRUE(request && std::holds_alternative<Push>(*request)) << calls;
  }
  // News from the server is a reason.
  client.on(*request, Pushed{.accepted = had, .stopped = "a file is being changed here"});
  client.on(Pull{}, Pulled{.records = {},
                           .next = pair.there.state().end,
                           .table = pair.there.state().table,
                           .digest = {}});
  request = client.next();
  ASSERT_TRUE(request && std::holds_alternative<Push>(*request));
  client.on(*request, pair.server.answer(*request));
  pair.settle(client);
  EXPECT_EQ(pair.there.manifest(true), pair.here.manifest(true));
}

/// What the client says to the answer to its Hello; empty: it goes on.
std::string objection(Client& client, Pair& pair) {
  const std::optional<Request> hello = client.next();
  EXPECT_TRUE(hello && std::holds_alternative<Hello>(*hello));
  try {
    client.on(*hello, pair.server.answer(*hello));
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

/// What a client does meanwhile by itself; how many requests those are besides Pull, which waits at
/// the server until there is news.
unsigned seconds_pass(Pair& pair, Client& client, unsigned seconds) {
  unsigned asked = 0;
  client.on_failure();
  std::optional<Request> poll;
  for (unsigned second = 0; second < seconds; second++) {
    client.try_again();
    for (unsigned turn = 0; turn < 100; turn++) {
      if (poll) {
        Response response = pair.server.answer(*poll);
        if (!std::get<Pulled>(response).records.empty()) {
          client.on(*std::exchange(poll, std::nullopt), std::move(response));
        }
      }
      std::optional<Request> request = client.next();
      if (!request) {
        break;
      }
      if (std::holds_alternative<Pull>(*request)) {
        poll = std::move(request);
      } else {
        client.on(*request, pair.server.answer(*request));
        asked++;
      }
    }
  }
  return asked;
}

/// A body that cannot be read for long, as somebody has a lease on the file, keeps nothing waiting
/// but what comes behind it in that log; it is asked for again by itself, ever more seldom.
TEST(Client, WaitsForABodyThatCannotBeReadYet) {
  for (const bool is_servers : {false, true}) {
    Pair pair;
    Client client(pair.here);
    pair.settle(client);
    ModelReplica& holder = is_servers ? pair.there : pair.here;
    ModelReplica& other = is_servers ? pair.here : pair.there;
    holder.is_leased = [](const Fid&) { return true; };
    create(holder, "leased");
    const std::uint64_t ino = holder.ino_at({.dir = kRootIno, .name = "leased"});
    holder.begin_write(ino, "text");
    holder.end_write(ino);
    holder.commit();
    create(other, "meanwhile");
    EXPECT_LT(seconds_pass(pair, client, 60), 12U) << is_servers;
    EXPECT_NE(holder.ino_at({.dir = kRootIno, .name = "meanwhile"}), 0U) << is_servers;
    EXPECT_EQ(client.waiting(), is_servers ? "a file cannot be read on the server yet"
                                           : "a file cannot be read here yet");
    holder.is_leased = [](const Fid&) { return false; };
    seconds_pass(pair, client, 64);
    EXPECT_EQ(client.waiting(), "");
    EXPECT_EQ(pair.here.manifest(true), pair.there.manifest(true)) << is_servers;
    EXPECT_EQ(other.text_of(other.ino_at({.dir = kRootIno, .name = "leased"})), "text");
  }
}

/// A user changes what the client has changed too, and theirs waits for ours: it is said why ours
/// do not go.
TEST(Client, SaysWhyItsOwnChangesDoNotGo) {
  Pair pair;
  Client client(pair.here);
  create(pair.here, "x");
  pair.settle(client);
  const std::uint64_t theirs = pair.there.ino_at({.dir = kRootIno, .name = "x"});
  const std::uint64_t ours = pair.here.ino_at({.dir = kRootIno, .name = "x"});
  ASSERT_TRUE(pair.there.begin_write(theirs, "being written"));
  ASSERT_TRUE(pair.there.chmod(theirs, 0640));
  pair.there.commit();
  ASSERT_TRUE(pair.here.begin_write(ours, "written"));
  pair.here.end_write(ours);
  ASSERT_TRUE(pair.here.chmod(ours, 0604));
  pair.here.commit();
  seconds_pass(pair, client, 2);
  EXPECT_EQ(client.waiting(), "the server stops: a file is being changed here");
  pair.there.end_write(theirs);
  pair.there.commit();
  seconds_pass(pair, client, 64);
  EXPECT_EQ(client.waiting(), "");
  EXPECT_EQ(pair.here.manifest(true), pair.there.manifest(true));
}

/// The same where it is a file of the client's own that cannot be read.
TEST(Client, SaysThatAFileIsUnreadWhereItsOwnChangesComeFirst) {
  Pair pair;
  Client client(pair.here);
  create(pair.here, "x");
  pair.settle(client);
  const std::uint64_t theirs = pair.there.ino_at({.dir = kRootIno, .name = "x"});
  const std::uint64_t ours = pair.here.ino_at({.dir = kRootIno, .name = "x"});
  ASSERT_TRUE(pair.there.chmod(theirs, 0640));
  pair.there.commit();
  pair.here.is_leased = [](const Fid&) { return true; };
  ASSERT_TRUE(pair.here.begin_write(ours, "written"));
  pair.here.end_write(ours);
  ASSERT_TRUE(pair.here.chmod(ours, 0604));
  pair.here.commit();
  seconds_pass(pair, client, 2);
  EXPECT_EQ(client.waiting(), "a file cannot be read here yet");
  pair.here.is_leased = [](const Fid&) { return false; };
  seconds_pass(pair, client, 64);
  EXPECT_EQ(client.waiting(), "");
  EXPECT_EQ(pair.here.manifest(true), pair.there.manifest(true));
}

/// One that would be too many is told so, and comes in as soon as there is room; those that are
/// known go on.
TEST(Server, RefusesAReplicaThatItHasNoRoomFor) {
  Pair pair;
  Client client(pair.here);
  pair.settle(client);
  pair.there.most_peers = 1;
  const Hello stranger{.replica = {9}, .epoch = 1, .table = {{9}}};
  EXPECT_EQ(pair.refusal(stranger).substr(0, 44), "the server has no room for one more replica:");
  create(pair.here, "x");
  client.on_failure();
  pair.settle(client);
  EXPECT_NE(pair.there.ino_at({.dir = kRootIno, .name = "x"}), 0U);
  pair.there.most_peers = 2;
  EXPECT_EQ(pair.refusal(stranger), "");
}

/// The server's log was trimmed, and what the client has not had yet is not there any more: what it
/// told of attributes and bodies would be missed, and nobody would ever know.
TEST(Client, DoesNotGoOnBehindAGapInTheServersLog) {
  Pair pair;
  create(pair.there, "a");
  Client client(pair.here);
  pair.settle(client);
  create(pair.there, "b");
  const std::uint64_t newest = pair.there.disk().log.back().recno;
  // What it has may go.
  pair.there.trim(newest - 1);
  client.on_failure();
  pair.settle(client);
  create(pair.there, "c");
  create(pair.there, "d");
  pair.there.trim(pair.there.disk().log.back().recno - 1);
  client.on_failure();
  EXPECT_EQ(objection(client, pair), "the server's log does not have what came behind its record " +
                                         std::to_string(newest) +
                                         " any more, up to which it is applied here; " + kMakeAnew);
}

/// Its log goes on from an older state of its disk than the server has records of. Nothing of it is
/// sent, or taken for sent, and nothing of the server's is applied; with its own disk it goes on.
TEST(Client, DoesNotGoOnFromAnOlderStateOfItsDisk) {
  Pair pair;
  create(pair.here, "a");
  {
    Client client(pair.here);
    pair.settle(client);
  }
  const ModelReplica::Disk image = pair.here.disk();
  create(pair.here, "b");
  create(pair.here, "c");
  {
    Client client(pair.here);
    pair.settle(client);
  }
  const ModelReplica::Disk newest = pair.here.disk();
  const std::uint64_t end = newest.log.back().recno;
  pair.here.put_back(image);
  create(pair.here, "own");
  const std::uint64_t older = pair.here.disk().log.back().recno;
  create(pair.there, "d");
  const std::string there = pair.there.manifest(true);
  const std::string here = pair.here.manifest(true);
  Client client(pair.here);
  for (unsigned tries = 0; tries < 2; tries++) {
    EXPECT_EQ(
        objection(client, pair),
        "this replica's log ends with record " + std::to_string(older) +
            ", before what the server has of it, up to record " + std::to_string(end) +
            ": its disk was put back to an older state, or lost power without a journal; save "
            "what has changed on it since, and make it anew, empty or as a copy of the server's "
            "disk (mkizofs --clone --of-server)");
  }
  EXPECT_EQ(pair.there.manifest(true), there);
  EXPECT_EQ(pair.here.manifest(true), here);
  EXPECT_EQ(pair.here.disk().log.back().recno, older);
  // Beyond what the server has, with records as long as those were: they were made at other times.
  for (const std::string name : {"own 2", "own 3"}) {
    create(pair.here, name);
    const bool is_beyond = pair.here.disk().log.back().recno >= end;
    EXPECT_NE(
        objection(client, pair)
            .find(is_beyond ? "this replica's log has other records up to " + std::to_string(end)
                            : "this replica's log ends with record "),
        std::string::npos)
        << name;
  }
  EXPECT_GT(pair.here.disk().log.back().recno, end);
  EXPECT_EQ(pair.there.manifest(true), there);

  pair.here.put_back(newest);
  Client again(pair.here);
  EXPECT_EQ(objection(again, pair), "");
  pair.settle(again);
  EXPECT_EQ(pair.here.manifest(true), pair.there.manifest(true));
}

/// The same when it was used for so long without the server that the log must be read for it.
/// It reads its log again, by which it knows what the server lacks.
TEST(Client, FailsIfTheServerHasLessThanItHad) {
  Pair pair;
  Client client(pair.here);
  create(pair.here, "a");
  pair.settle(client);
  const ModelReplica::Disk earlier = pair.there.disk();
  create(pair.here, "b");
  pair.settle(client);
  // Its cache has no journal, and its power was cut.
  pair.there.put_back(earlier);
  Server server(pair.there);
  client.on_failure();
  const std::optional<Request> hello = client.next();
  EXPECT_THROW(client.on(*hello, server.answer(*hello)), Error);
  Client anew(pair.here);
  const std::optional<Request> once_more = anew.next();
  anew.on(*once_more, server.answer(*once_more));
  const std::optional<Request> push = anew.next();
  ASSERT_TRUE(push && std::holds_alternative<Push>(*push));
  EXPECT_EQ(std::get<Push>(*push).records.front().recno, 2U);
}

TEST(Client, KnowsAnOlderStateOfItsDiskByAnyOfItsRecords) {
  Pair pair;
  create(pair.here, "a");
  const ModelReplica::Disk image = pair.here.disk();
  create(pair.here, "b");
  {
    Client client(pair.here);
    pair.settle(client);
  }
  const std::uint64_t end = pair.here.disk().log.back().recno;
  const auto work_offline = [&pair] {
    for (unsigned i = 0; i < 5000; i++) {
      pair.here.make(kml::Op::kCreate, {.dir = kRootIno, .name = "own " + std::to_string(i)}, 0600);
    }
    pair.here.commit();
  };
  const ModelReplica::Disk newest = pair.here.disk();
  pair.here.put_back(image);
  create(pair.here, "c");  // as long as the one that was there
  work_offline();
  Client client(pair.here);
  EXPECT_TRUE(
      objection(client, pair)
          .starts_with("this replica's log has other records up to " + std::to_string(end)));

  pair.here.put_back(newest);
  work_offline();
  Client again(pair.here);
  EXPECT_EQ(objection(again, pair), "");
}

/// Its own beginning is not needed any more, and not looked for.
TEST(Client, GoesOnWithALogThatWasTrimmed) {
  Pair pair;
  for (const std::string name : {"a", "b", "c"}) {
    create(pair.here, name);
  }
  {
    Client client(pair.here);
    pair.settle(client);
  }
  for (const std::uint64_t last : {2U, 3U}) {
    pair.here.trim(last);
    Client client(pair.here);
    EXPECT_EQ(objection(client, pair), "") << last;
  }
}

/// The same when it has grown beyond what the server has before the server is met.
TEST(Client, KnowsAnOlderStateOfItsDiskThatHasGrown) {
  Pair pair;
  Client client(pair.here);
  pair.settle(client);
  for (const std::string name : {"a", "b"}) {
    pair.here.make(kml::Op::kCreate, {.dir = kRootIno, .name = name}, 0600);
  }
  pair.here.commit();
  client.on_failure();
  const std::optional<Request> hello = client.next();
  Welcome welcome = std::get<Welcome>(pair.server.answer(*hello));
  // Its first record was shorter when the server got it, and there was none behind it.
  welcome.accepted.recno = 1;
  welcome.accepted.offset = pair.here.disk().log.front().offset + 8;
  try {
    client.on(*hello, welcome);
    FAIL() << "it goes on";
  } catch (const Error& error) {
    EXPECT_TRUE(std::string(error.what())
                    .starts_with("this replica's log has other records up to 1 than the server "
                                 "has of it: its disk was put back"))
        << error.what();
  }
  // Record 2 begins where record 3 should.
  const std::optional<Request> other = client.next();
  welcome.accepted.offset = pair.here.disk().log.front().offset;
  EXPECT_THROW(client.on(*other, welcome), Error);
  // What the server got began a block of its own, and is shorter here.
  const std::optional<Request> third = client.next();
  welcome.accepted.offset = pair.here.state().end + 4096;
  EXPECT_THROW(client.on(*third, welcome), Error);
  pair.settle(client);
  EXPECT_EQ(pair.here.manifest(true), pair.there.manifest(true));
}

}  // namespace
}  // namespace izo::repl
