// SPDX-License-Identifier: GPL-2.0
// A program's words, by getopt_long(3). What is wrong with them is one line, in the same form for
// all programs: "PROGRAM: what; see PROGRAM --help".
#pragma once

#include <functional>
#include <string>
#include <variant>
#include <vector>

namespace izo {

/// An option that is called for: --NAME, or --NAME=VALUE.
struct CommandOption {
  std::string name;
  bool has_value = false;
  /// Takes it, with its value; returns what is wrong with that, or nothing.
  std::function<std::string(const std::string& value)> take;
};

/// One without a value, which sets `said`.
CommandOption flag(std::string name, bool& said);

/// Besides its options it has -h and --help.
struct Command {
  std::string name;  ///< As messages begin.
  std::string help;
  std::string version;          ///< What --version prints; empty: there is none.
  std::string operand;          ///< What the words that are no options are, as MOUNTPOINT.
  bool takes_one = true;        ///< One such word, neither none nor more.
  bool takes_one_dash = false;  ///< -name is --name.
  std::vector<CommandOption> options;
};

/// A text to be printed instead, and the exit code: 0, or 2 for wrong usage.
struct Said {
  int code = 0;
  std::string text;

  bool operator==(const Said&) const = default;
};

/// What is wrong with the words of the command `name`.
Said wrong_usage(const std::string& name, const std::string& what);

/// Prints what is wrong on standard error, all else on standard output. Returns the code.
int print(const Said& said);

/// Takes the options among the words, of which the first is the program's. Returns the others, as
/// many as the command takes and none of them empty, or what to say instead.
std::variant<std::vector<std::string>, Said> parse(const Command& command, int argc, char** argv);

}  // namespace izo
