// SPDX-License-Identifier: GPL-2.0
#include "base/command_line.h"

#include <gtest/gtest.h>

namespace izo {
namespace {

using Words = std::vector<std::string>;

/// Of a program with --all and --size=N.
struct Program {
  bool all = false;
  std::string size;
  Command command{.name = "program",
                  .help = "usage: program\n",
                  .version = "program 1\n",
                  .operand = "PATH",
                  .takes_one = false,
                  .options = {flag("all", all), {"size", true, [this](const std::string& value) {
                                                   size = value;
                                                   return value == "bad" ? "--size=bad: give N"
                                                                         : "";
                                                 }}}};

  std::variant<Words, Said> parse(Words words) {
    words.insert(words.begin(), "/usr/sbin/program");
    std::vector<char*> argv;
    for (std::string& word : words) {
      argv.push_back(word.data());
    }
    argv.push_back(nullptr);
    return izo::parse(command, static_cast<int>(words.size()), argv.data());
  }
};

/// What is said of these words, with exit code 2.
std::string complaint(Program program, const Words& words) {
  const std::variant<Words, Said> parsed = program.parse(words);
  const auto* said = std::get_if<Said>(&parsed);
  EXPECT_TRUE(said != nullptr && said->code == 2);
  return said != nullptr ? said->text : "";
}

// Options may stand anywhere before "--".
TEST(CommandLine, OptionsAreTakenAndTheOtherWordsGiven) {
  Program program;
  EXPECT_EQ(std::get<Words>(program.parse({"a", "--all", "--size", "7", "--", "--b"})),
            (Words{"a", "--b"}));
  EXPECT_TRUE(program.all);
  EXPECT_EQ(program.size, "7");
  Program other;
  EXPECT_EQ(std::get<Words>(other.parse({})), Words{});
  EXPECT_FALSE(other.all);
}

TEST(CommandLine, OneOtherWordIfThereMayBeOneOnly) {
  Program program;
  program.command.takes_one = true;
  EXPECT_EQ(std::get<Words>(program.parse({"--all", "a"})), Words{"a"});
  EXPECT_EQ(std::get<Said>(program.parse({"--all"})).text,
            "program: PATH is missing; see program --help\n");
  EXPECT_EQ(std::get<Said>(program.parse({"a", "b"})).text,
            "program: b: one PATH only; see program --help\n");
}

TEST(CommandLine, HelpAndVersionAreSaid) {
  for (const char* word : {"-h", "--help"}) {
    EXPECT_EQ(std::get<Said>(Program().parse({word})), (Said{.text = "usage: program\n"})) << word;
  }
  EXPECT_EQ(std::get<Said>(Program().parse({"--version"})), (Said{.text = "program 1\n"}));
  Program verb;
  verb.command.version.clear();
  EXPECT_EQ(std::get<Said>(verb.parse({"--version"})).code, 2);
}

// One line that names the program by its name, not by its path, and the word.
TEST(CommandLine, WhatIsWrongIsOneLine) {
  const std::string see = "; see program --help\n";
  for (const char* word : {"--nothing", "--nothing=1", "-x"}) {
    EXPECT_EQ(complaint({}, {"a", word, "b"}),
              "program: " + std::string(word) + ": no such option" + see);
  }
  EXPECT_EQ(complaint({}, {"a", "-xyz"}), "program: -x: no such option" + see);
  EXPECT_EQ(complaint({}, {"-all"}), "program: -a: no such option" + see);
  EXPECT_EQ(complaint({}, {"--all=1"}), "program: --all takes no value" + see);
  EXPECT_EQ(complaint({}, {"--help=1"}), "program: --help takes no value" + see);
  EXPECT_EQ(complaint({}, {"--size"}), "program: --size: its value is missing" + see);
  EXPECT_EQ(complaint({}, {"--size=bad"}), "program: --size=bad: give N" + see);
  EXPECT_EQ(complaint({}, {"a", ""}), "program: \"\" is no PATH" + see);
}

TEST(CommandLine, OneDashIsEnoughForWhoSaysSo) {
  Program program;
  program.command.takes_one_dash = true;
  EXPECT_EQ(std::get<Words>(program.parse({"-all", "-size=3", "a"})), Words{"a"});
  EXPECT_TRUE(program.all);
  EXPECT_EQ(program.size, "3");
}

}  // namespace
}  // namespace izo
