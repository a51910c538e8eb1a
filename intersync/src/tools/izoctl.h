// SPDX-License-Identifier: GPL-2.0
// What the verbs of izoctl(8) have in common: each is a function in a file of its own.
#pragma once

#include <string>

namespace izo::tools {

enum ExitCode : int {
  kDone = 0,
  kFailed = 1,  ///< It could not be done.
  kUsage = 2,   ///< Wrong usage.
  kTrouble =
      3,  ///< kml: the log is damaged; status: a fileset is not well; conflicts: there are some.
  kGone = 4,  ///< kml: records that were asked for are not there any more.
};

/// A verb: its own arguments, argv[0] being "izoctl VERB". Returns an ExitCode, throws
/// std::exception with one line for what ends it.
int izoctl_kml(int argc, char** argv);
int izoctl_status(int argc, char** argv);
int izoctl_conflicts(int argc, char** argv);

/// Says on standard error what is wrong with the command line. Returns kUsage.
int wrong_usage(const std::string& verb, const std::string& what);

}  // namespace izo::tools
