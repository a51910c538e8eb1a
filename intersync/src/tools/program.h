// SPDX-License-Identifier: GPL-2.0
// Other programs, run and waited for.
#pragma once

#include <string>
#include <vector>

namespace izo::tools {

struct Finished {
  int code = 127;      ///< Exit code; 127 if it could not be run, 128 + N if signal N ended it.
  std::string output;  ///< What it printed on stdout.
  std::string errors;  ///< What it printed on stderr, or why it could not be run.
};

/// Runs a program found in PATH or where administrators' programs are, without input.
Finished run_program(const std::vector<std::string>& words);

}  // namespace izo::tools
