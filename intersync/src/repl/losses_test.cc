// SPDX-License-Identifier: GPL-2.0
// What people are told of changes that were lost, on the side that passed them.
#include "repl/losses.h"

#include <gtest/gtest.h>
#include <linux/fs.h>

#include <algorithm>
#include <memory>
#include <set>

#include "repl/client.h"
#include "repl/model_replica.h"
#include "repl/server.h"

namespace izo::repl {
namespace {

constexpr std::uint64_t kRootIno = 2;

std::string in_words(const Loss& loss) {
  return std::string(name_of(loss.record.op)) + " " + loss.path + " " +
         std::to_string(static_cast<std::uint32_t>(loss.why)) + (loss.in_part ? " in part" : "");
}

class LossesTest : public testing::Test {
 protected:
  LossesTest() {
    there_.make(kml::Op::kMkdir, {.dir = kRootIno, .name = "d"}, 0755);
    dir_ = there_.inodes().front();
    there_.make(kml::Op::kCreate, {.dir = dir_, .name = "f"}, 0600);
    there_.commit();
    settle();
  }

  struct TooLarge final : Body {
    [[nodiscard]] bool fits() const override { return false; }
  };

  /// Requests of the client until both are even. With `too_large` no body fits where it comes to.
  void settle(bool too_large = false) { settle(client_, too_large); }
  void settle(Client& client, bool too_large) {
    here_.commit();
    there_.commit();
    for (unsigned i = 0; i < 100; i++) {
      std::optional<Request> request = client.next();
      if (auto* push = std::get_if<Push>(&request.value()); push != nullptr && too_large) {
        for (std::shared_ptr<Body>& body : push->bodies) {
          body = body ? std::make_shared<TooLarge>() : nullptr;
        }
      }
      Response response = server_.answer(*request);
      if (auto* fetched = std::get_if<Fetched>(&response); fetched != nullptr && too_large) {
        std::ranges::fill(fetched->bodies, std::make_shared<TooLarge>());
      }
      const auto* pulled = std::get_if<Pulled>(&response);
      const bool end = pulled != nullptr && pulled->records.empty();
      client.on(*request, std::move(response));
      if (end && !client.is_behind()) {
        return;
      }
    }
    FAIL() << client.waiting();
  }
  static void write(ModelReplica& replica, std::uint64_t file, const std::string& text) {
    replica.begin_write(file, text);
    replica.end_write(file);
  }

  static std::uint64_t file_in(const ModelReplica& replica) {
    for (const std::uint64_t ino : replica.inodes()) {
      const auto dirs = replica.directories();
      if (std::find(dirs.begin(), dirs.end(), ino) == dirs.end()) {
        return ino;
      }
    }
    return 0;
  }

  static OnLosses into(std::vector<std::string>& out) {
    return [&out](const std::vector<Loss>& losses) {
      for (const Loss& loss : losses) {
        out.push_back(in_words(loss));
      }
    };
  }

  std::vector<std::string> lost_there_;
  std::vector<std::string> lost_here_;
  ModelReplica there_{1, true};
  ModelReplica here_{2, false};
  Server server_{there_, into(lost_there_)};
  Client client_{here_, into(lost_here_)};
  std::uint64_t dir_ = 0;
};

TEST_F(LossesTest, AttributesThatLoseAreNamedByTheServer) {
  there_.chmod(file_in(there_), 0640);
  there_.setxattr(file_in(there_), "user.x", "there");
  here_.chmod(file_in(here_), 0604);
  here_.setxattr(file_in(here_), "user.x", "here");
  here_.setxattr(file_in(here_), "user.y", "here");
  settle();
  EXPECT_EQ(lost_there_, (std::vector<std::string>{"setattr d/f 260", "setxattr d/f 260"}));
  EXPECT_TRUE(lost_here_.empty());
  EXPECT_EQ(here_.manifest(true), there_.manifest(true));
}

TEST_F(LossesTest, WhatTheFileSystemRefusesIsNamedWhereItIs) {
  here_.chattr(file_in(here_), FS_IMMUTABLE_FL);
  there_.setxattr(file_in(there_), "user.x", "there");
  settle();
  EXPECT_EQ(lost_here_, std::vector<std::string>{"setxattr d/f 262"});
  EXPECT_TRUE(lost_there_.empty());
}

/// Whoever made it has it still, and nothing waits for it.
TEST_F(LossesTest, ABodyThatDoesNotFitIsNamedWhereItIs) {
  write(there_, file_in(there_), "there");
  settle(true);
  EXPECT_EQ(lost_here_, std::vector<std::string>{"close d/f 262"});
  EXPECT_EQ(here_.texts(), std::set<std::string>{""});
  EXPECT_EQ(there_.texts(), std::set<std::string>{"there"});
  // One that has seen it, and one in conflict.
  write(here_, file_in(here_), "here");
  settle(true);
  EXPECT_EQ(lost_there_, std::vector<std::string>{"close d/f 262"});
  write(here_, file_in(here_), "here again");
  write(there_, file_in(there_), "there again");
  settle(true);
  EXPECT_EQ(lost_there_, std::vector<std::string>(2, "close d/f 262"));
  EXPECT_EQ(there_.texts(), std::set<std::string>{"there again"});
  write(there_, file_in(there_), "short");
  settle();
  EXPECT_EQ(here_.manifest(true), there_.manifest(true));
}

TEST_F(LossesTest, ACopyOfTheTreeIsWholeWithoutWhatDoesNotFit) {
  write(there_, file_in(there_), "there");
  there_.commit();
  ModelReplica third(3, false);
  Client client(third);
  settle(client, true);
  EXPECT_EQ(third.places().size(), 2U);
  EXPECT_EQ(third.texts(), std::set<std::string>{""});
}

/// A birth that the file system takes without its ACL, say, is made; what is missing is named, on
/// either side. Of a body it is only the time of a directory.
TEST_F(LossesTest, WhatTheFileSystemTakesInPartIsNamed) {
  here_.takes_part = there_.takes_part = [](const Record&) { return true; };
  there_.make(kml::Op::kCreate, {.dir = dir_, .name = "theirs"}, 0600);
  there_.begin_write(file_in(there_), "text");
  there_.end_write(file_in(there_));
  here_.make(kml::Op::kMkdir, {.dir = kRootIno, .name = "ours"}, 0755);
  settle();
  EXPECT_EQ(lost_here_, std::vector<std::string>{"create d/theirs 262 in part"});
  EXPECT_EQ(lost_there_, std::vector<std::string>{"mkdir ours 262 in part"});
  EXPECT_EQ(here_.manifest(true), there_.manifest(true));
}

/// A body is kept as a copy, and what is the same on both sides, or moot, is nothing lost.
TEST_F(LossesTest, NothingElseIsNamed) {
  for (ModelReplica* replica : {&there_, &here_}) {
    write(*replica, file_in(*replica), replica == &here_ ? "here" : "there");
    replica->make(kml::Op::kCreate, {.dir = kRootIno, .name = "same name"}, 0600);
  }
  settle();
  here_.setxattr(file_in(here_), "user.y", "here");
  there_.unlink({.dir = dir_, .name = "f"});
  settle();
  EXPECT_EQ(lost_there_, std::vector<std::string>{});
  EXPECT_EQ(lost_here_, std::vector<std::string>{});
  EXPECT_EQ(here_.manifest(true), there_.manifest(true));
}

}  // namespace
}  // namespace izo::repl
