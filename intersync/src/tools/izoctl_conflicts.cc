// SPDX-License-Identifier: GPL-2.0
// izoctl conflicts: lists what conflicts have left.
#include <getopt.h>

#include <array>
#include <cstdio>
#include <ctime>
#include <iostream>
#include <nlohmann/json.hpp>

#include "kml/quoted.h"
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
    "  --help\n"
    "\n"
    "Exit codes: 0 there are none; 1 it could not be done; 2 wrong usage; 3 there are some. See\n"
    "izoctl(8).\n";

using Json = nlohmann::ordered_json;

Json json_of(const std::string& text) {
  return kml::is_utf8(text) ? Json(text) : Json{{"hex", kml::hex(text)}};
}

std::string as_json(const ConflictCopy& copy) {
  return Json{{"path", json_of(copy.path)},
              {"name", json_of(copy.name)},
              {"type", std::string(1, copy.type)},
              {"size", copy.size},
              {"mtime", copy.mtime}}
      .dump();
}

std::string as_text(const ConflictCopy& copy) {
  std::array<char, 32> time{};
  std::tm utc{};
  ::gmtime_r(&copy.mtime, &utc);
  std::strftime(time.data(), time.size(), "%FT%TZ", &utc);
  return std::string(1, copy.type) + ' ' + time.data() + ' ' + std::to_string(copy.size) + ' ' +
         kml::quoted(copy.path) + " lost " + kml::quoted(copy.name);
}

}  // namespace

int izoctl_conflicts(int argc, char** argv) {
  constexpr option kLong[] = {
      {"json", no_argument, nullptr, 'j'}, {"help", no_argument, nullptr, 'h'}, {}};
  bool json = false;
  for (int found = 0; (found = getopt_long(argc, argv, "", kLong, nullptr)) != -1;) {
    switch (found) {
      case 'j':
        json = true;
        break;
      case 'h':
        std::cout << kHelp;
        return kDone;
      default:
        std::cerr << "See " << kVerb << " --help.\n";
        return kUsage;
    }
  }
  if (optind + 1 != argc) {
    return wrong_usage(kVerb, optind == argc ? "MOUNTPOINT is missing" : "one MOUNTPOINT only");
  }
  std::string root = argv[optind];
  while (root.size() > 1 && root.ends_with('/')) {
    root.pop_back();
  }
  Output output;
  bool any = false;
  find_conflict_copies(root, [&](const ConflictCopy& copy) {
    any = true;
    output.line(json ? as_json(copy) : as_text(copy));
  });
  output.flush();
  return any ? kTrouble : kDone;
}

}  // namespace izo::tools
