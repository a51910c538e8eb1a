// SPDX-License-Identifier: GPL-2.0
#include "daemon/loss_lines.h"

#include "kml/quoted.h"

namespace izo::daemon {

namespace {

constexpr std::size_t kMostLines = 8;

std::string_view reason(const repl::Loss& loss) {
  if (loss.in_part) {
    return "the file system does not take them";
  }
  switch (loss.why) {
    case repl::Passed::kConflict:
      return "it conflicts with another one that stays";
    case repl::Passed::kNotHere:
      return "that name is this machine's own, or something is mounted there";
    default:
      return "the file system does not take it";
  }
}

}  // namespace

std::vector<std::string> lines_of(const std::vector<repl::Loss>& losses, std::string_view whose) {
  std::vector<std::string> out;
  for (const repl::Loss& loss : losses) {
    if (out.size() == kMostLines) {
      out.push_back("and " + std::to_string(losses.size() - kMostLines) + " more of " +
                    std::string(whose) + " are not made here");
      break;
    }
    const std::string what =
        loss.in_part ? ", is made here, but not all of its attributes: " : ", is not made here: ";
    out.push_back(std::string(kml::name_of(loss.record.op)) + " of " + kml::quoted(loss.path) +
                  " by " + std::string(whose) + ", its record " +
                  std::to_string(loss.record.recno) + what + std::string(reason(loss)));
  }
  return out;
}

}  // namespace izo::daemon
