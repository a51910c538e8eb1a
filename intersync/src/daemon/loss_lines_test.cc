// SPDX-License-Identifier: GPL-2.0
#include "daemon/loss_lines.h"

#include <gtest/gtest.h>

namespace izo::daemon {
namespace {

repl::Loss loss(kml::Op op, std::string path, repl::Passed why) {
  repl::Record record;
  record.op = op;
  record.recno = 7;
  record.origin_recno = 70;
  return {.record = std::move(record), .path = std::move(path), .why = why};
}

TEST(LossLines, SayWhatWhoseAndWhy) {
  using Lines = std::vector<std::string>;
  EXPECT_EQ(lines_of({}, "client X"), Lines());
  EXPECT_EQ(lines_of({loss(kml::Op::kSetattr, "etc/motd", repl::Passed::kConflict),
                      loss(kml::Op::kCreate, "a\nb", repl::Passed::kNotHere),
                      loss(kml::Op::kSetxattr, "f", repl::Passed::kRefused)},
                     "client X"),
            (Lines{"setattr of etc/motd by client X, its record 7, is not made here: it conflicts "
                   "with another one that stays",
                   "create of \"a\\x0ab\" by client X, its record 7, is not made here: that name "
                   "is this machine's own, or something is mounted there",
                   "setxattr of f by client X, its record 7, is not made here: the file system "
                   "does not take it"}));
}

TEST(LossLines, SayWhatIsMadeInPart) {
  repl::Loss part = loss(kml::Op::kMkdir, "d", repl::Passed::kRefused);
  part.in_part = true;
  EXPECT_EQ(lines_of({part}, "the server"),
            std::vector<std::string>{"mkdir of d by the server, its record 7, is made here, but "
                                     "not all of its attributes: the file system does not take "
                                     "them"});
}

TEST(LossLines, AreNotTooMany) {
  const std::vector<repl::Loss> losses(256, loss(kml::Op::kSetattr, "f", repl::Passed::kConflict));
  const std::vector<std::string> lines = lines_of(losses, "the server");
  ASSERT_EQ(lines.size(), 9U);
  EXPECT_EQ(lines.back(), "and 248 more of the server are not made here");
  EXPECT_EQ(lines_of({losses.begin(), losses.begin() + 8}, "the server").size(), 8U);
}

}  // namespace
}  // namespace izo::daemon
