// SPDX-License-Identifier: GPL-2.0
// What the verbs of izoctl(8) have in common: each is a function in a file of its own.
#pragma once

namespace izo::tools {

/// 2 is for wrong usage.
enum ExitCode : int {
  kDone = 0,
  kFailed = 1,  ///< It could not be done.
  kTrouble =
      3,  ///< kml: the log is damaged; status: a fileset is not well; conflicts: there are some.
  kGone = 4,  ///< kml: records that were asked for are not there any more.
};

/// A verb with its own words, argv[0] being its name. Returns an ExitCode, throws std::exception
/// with one line for what ends it.
int izoctl_kml(int argc, char** argv);
int izoctl_status(int argc, char** argv);
int izoctl_conflicts(int argc, char** argv);

}  // namespace izo::tools
