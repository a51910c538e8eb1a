// SPDX-License-Identifier: GPL-2.0
#include "tools/stop_signals.h"

#include <gtest/gtest.h>

namespace izo::tools {
namespace {

TEST(StopSignals, OneThatCameDoesNothingElse) {
  for (const int signal : {SIGINT, SIGTERM}) {
    const StopSignals signals;
    EXPECT_FALSE(signals.asked());
    raise(signal);
    EXPECT_TRUE(signals.asked());
    EXPECT_TRUE(signals.asked());
  }
}

TEST(StopSignalsDeathTest, AfterwardsTheyEndTheProcess) {
  {
    const StopSignals signals;
    raise(SIGTERM);
  }
  EXPECT_EXIT(raise(SIGTERM), testing::KilledBySignal(SIGTERM), "");
}

}  // namespace
}  // namespace izo::tools
