// SPDX-License-Identifier: GPL-2.0
// Lines on standard output.
#pragma once

#include <string>
#include <string_view>

namespace izo::tools {

class Output {
 public:
  /// Gives up when nobody takes what is written and `stop` becomes readable; -1: never.
  explicit Output(int stop = -1) : stop_(stop) {}

  /// Adds a line; writes when there are many. Throws SysError. False: given up.
  bool line(std::string_view text);
  /// Writes all of them.
  bool flush();

 private:
  int stop_;
  std::string pending_;
};

}  // namespace izo::tools
