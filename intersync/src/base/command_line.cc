// SPDX-License-Identifier: GPL-2.0
#include "base/command_line.h"

#include <getopt.h>

#include <iostream>
#include <utility>

namespace izo {
namespace {

constexpr int kWrongUsage = 2;
/// What getopt_long(3) gives for the first option; below are letters.
constexpr int kFirst = 256;

/// What getopt_long(3) has found wrong: `found` is '?' or ':'.
std::string fault(const std::vector<option>& options, int found, const std::string& word) {
  if (found == ':') {
    return word + ": its value is missing";
  }
  if (optopt >= kFirst) {
    return std::string("--") + options[static_cast<std::size_t>(optopt - kFirst)].name +
           " takes no value";
  }
  // Of several letters behind one dash only this one is wrong.
  return (optopt != 0 ? std::string("-") + static_cast<char>(optopt) : word) + ": no such option";
}

}  // namespace

CommandOption flag(std::string name, bool& said) {
  return {.name = std::move(name), .take = [&said](const std::string&) {
            said = true;
            return std::string();
          }};
}

Said wrong_usage(const std::string& name, const std::string& what) {
  return {.code = kWrongUsage, .text = name + ": " + what + "; see " + name + " --help\n"};
}

int print(const Said& said) {
  (said.code == 0 ? std::cout : std::cerr) << said.text << std::flush;
  return said.code;
}

std::variant<std::vector<std::string>, Said> parse(const Command& command, int argc, char** argv) {
  std::vector<option> options;
  options.reserve(command.options.size() + 3);
  for (const CommandOption& each : command.options) {
    options.push_back({each.name.c_str(), each.has_value ? required_argument : no_argument, nullptr,
                       kFirst + static_cast<int>(options.size())});
  }
  const int help = kFirst + static_cast<int>(options.size());
  const int version = help + 1;
  options.push_back({"help", no_argument, nullptr, help});
  if (!command.version.empty()) {
    options.push_back({"version", no_argument, nullptr, version});
  }
  options.push_back({});
  const auto next = command.takes_one_dash ? ::getopt_long_only : ::getopt_long;
  optind = 0;
  opterr = 0;
  for (int found = 0; (found = next(argc, argv, ":h", options.data(), nullptr)) != -1;) {
    if (found == 'h' || found == help) {
      return Said{.code = 0, .text = command.help};
    }
    if (found == version) {
      return Said{.code = 0, .text = command.version};
    }
    if (found == '?' || found == ':') {
      return wrong_usage(command.name, fault(options, found, argv[optind - 1]));
    }
    const CommandOption& option = command.options[static_cast<std::size_t>(found - kFirst)];
    if (const std::string what = option.take(optarg != nullptr ? optarg : ""); !what.empty()) {
      return wrong_usage(command.name, what);
    }
  }
  std::vector<std::string> words(argv + optind, argv + argc);
  for (const std::string& word : words) {
    if (word.empty()) {
      return wrong_usage(command.name, "\"\" is no " + command.operand);
    }
  }
  if (command.takes_one && words.size() != 1) {
    return wrong_usage(command.name, words.empty()
                                         ? command.operand + " is missing"
                                         : words[1] + ": one " + command.operand + " only");
  }
  return words;
}

}  // namespace izo
