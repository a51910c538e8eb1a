// SPDX-License-Identifier: GPL-2.0
#include "daemon/body_sender.h"

#include <fcntl.h>
#include <gtest/gtest.h>

namespace izo::daemon {
namespace {

/// Of several bodies it is told which one fails, and why; it ends as one that is not whole, and the
/// others are sent.
TEST(BodySender, TellsWhichBodyCannotBeRead) {
  const auto body = [](int how) {
    return BodyFile::staged(UniqueFd(::open("/dev/zero", how | O_CLOEXEC)), 5);
  };
  std::vector<std::pair<std::size_t, int>> told;
  BodySender sender(
      {{.body = body(O_RDONLY)}, {.body = body(O_WRONLY)}, {.body = body(O_RDONLY)}}, 1,
      [&](std::size_t index, const SysError& error) { told.emplace_back(index, error.code()); });
  std::size_t pieces = 0;
  while (sender.next()) {
    ASSERT_LT(++pieces, 10U);
  }
  EXPECT_EQ(told, (std::vector<std::pair<std::size_t, int>>{{1, EBADF}}));
}

}  // namespace
}  // namespace izo::daemon
