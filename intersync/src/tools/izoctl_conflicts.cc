// SPDX-License-Identifier: GPL-2.0
// izoctl conflicts: lists what conflicts have left.
#include <linux/intermezzo.h>
#include <sys/vfs.h>

#include <cerrno>
#include <nlohmann/json.hpp>

#include "base/command_line.h"
#include "base/error.h"
#include "tools/conflict_copies.h"
#include "tools/izoctl.h"
#include "tools/output.h"

namespace izo::tools {
namespace {

constexpr const char* kVerb = "izoctl conflicts";

constexpr const char* kHelp =
    "usage: izoctl conflicts [OPTION]... MOUNTPOINT\n"
    "\n"
    "Lists what conflicts have left in a fileset: the losers, with the names that they did not "
    "get.\n"
    "\n"
    "  --json  as JSON, one object a line\n"
    "  -h, --help\n"
    "\n"
    "Exit codes: 0 there are none; 1 it could not be done; 2 wrong usage; 3 there are some. See\n"
    "izoctl(8).\n";

/// Elsewhere there are no conflicts, and "none" would be the answer to another question.
void require_intermezzo(const std::string& path) {
  struct statfs seen{};
  if (::statfs(path.c_str(), &seen) != 0) {
    throw SysError(errno, "statfs", path);
  }
  if (seen.f_type != INTERMEZZO_SUPER_MAGIC) {
    throw Error(path + ": no intermezzo is mounted there; name the mount point");
  }
}

}  // namespace

int izoctl_conflicts(int argc, char** argv) {
  bool json = false;
  const auto parsed = parse(
      {.name = kVerb, .help = kHelp, .operand = "MOUNTPOINT", .options = {flag("json", json)}},
      argc, argv);
  if (const auto* said = std::get_if<Said>(&parsed)) {
    return print(*said);
  }
  const auto& words = std::get<std::vector<std::string>>(parsed);
  require_intermezzo(words[0]);
  Output output;
  bool any = false;
  find_conflict_copies(words[0], [&](const ConflictCopy& copy) {
    any = true;
    output.line(json ? to_json(copy).dump() : to_text(copy));
  });
  output.flush();
  return any ? kTrouble : kDone;
}

}  // namespace izo::tools
