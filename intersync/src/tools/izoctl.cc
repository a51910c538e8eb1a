// SPDX-License-Identifier: GPL-2.0
// izoctl(8): looks at filesets and their logs.
#include "tools/izoctl.h"

#include <exception>
#include <iostream>
#include <string>
#include <string_view>

#include "base/command_line.h"

namespace izo::tools {
namespace {

constexpr const char* kHelp =
    "usage: izoctl VERB [OPTION]... [PATH]...\n"
    "\n"
    "Looks at filesets and their logs.\n"
    "\n"
    "  kml        print the records of a log\n"
    "  status     say how mounted filesets are\n"
    "  conflicts  list what conflicts have left in a fileset\n"
    "\n"
    "izoctl VERB --help says more of one; izoctl --version. See izoctl(8).\n";

struct Verb {
  std::string_view name;
  int (*run)(int argc, char** argv);
};

constexpr Verb kVerbs[] = {
    {"kml", izoctl_kml}, {"status", izoctl_status}, {"conflicts", izoctl_conflicts}};

int run(int argc, char** argv) {
  if (argc < 2) {
    return print(wrong_usage("izoctl", "VERB is missing"));
  }
  const std::string word = argv[1];
  if (word == "-h" || word == "--help") {
    return print({.text = kHelp});
  }
  if (word == "--version") {
    return print({.text = "izoctl " IZO_VERSION "\n"});
  }
  for (const Verb& verb : kVerbs) {
    if (verb.name == word) {
      return verb.run(argc - 1, argv + 1);
    }
  }
  return print(wrong_usage("izoctl", word + ": no such verb"));
}

}  // namespace
}  // namespace izo::tools

int main(int argc, char** argv) {
  try {
    const int code = izo::tools::run(argc, argv);
    return std::cout.flush() ? code : izo::tools::kFailed;
  } catch (const std::exception& error) {
    std::cerr << "izoctl: " << error.what() << '\n';
    return izo::tools::kFailed;
  }
}
