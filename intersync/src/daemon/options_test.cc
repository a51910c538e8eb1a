// SPDX-License-Identifier: GPL-2.0
#include "daemon/options.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>
#include <string>
#include <vector>

namespace izo::daemon {
namespace {

using Words = std::vector<std::string>;

/// Of "intersync" and these words.
std::variant<Options, Said> parse(Words words) {
  words.insert(words.begin(), "intersync");
  std::vector<char*> argv;
  for (std::string& word : words) {
    argv.push_back(word.data());
  }
  argv.push_back(nullptr);
  return options_from(static_cast<int>(words.size()), argv.data());
}

/// With what is needed besides.
Options good(Words words) {
  words.insert(words.end(), {"--plain-http", "/mnt"});
  const std::variant<Options, Said> parsed = parse(words);
  if (const auto* said = std::get_if<Said>(&parsed)) {
    ADD_FAILURE() << said->text;
    return {};
  }
  return std::get<Options>(parsed);
}

/// What is said instead, without "intersync: " and the line's end.
std::string complaint(const Words& words) {
  const std::variant<Options, Said> parsed = parse(words);
  const auto* said = std::get_if<Said>(&parsed);
  if (said == nullptr) {
    return "nothing is wrong";
  }
  EXPECT_EQ(said->code, 2) << said->text;
  EXPECT_TRUE(said->text.starts_with("intersync: ")) << said->text;
  EXPECT_EQ(std::ranges::count(said->text, '\n'), 1) << said->text;
  EXPECT_TRUE(said->text.ends_with('\n')) << said->text;
  const std::string_view text = said->text;
  return std::string(text.substr(11, text.size() - 12));
}

std::string see_help(const std::string& what) {
  return what + "; see intersync --help";
}

TEST(Options, AreTheDefaultsIfNothingIsSaid) {
  const Options options = good({});
  EXPECT_EQ(options, (Options{.mount_point = "/mnt", .port = 7733, .plain_http = true}));
  EXPECT_EQ(options.server, "");
  EXPECT_EQ(options.listen, "");
  EXPECT_EQ(options.debug, 0U);
  EXPECT_EQ(options.commit_delay, std::chrono::milliseconds(10));
  EXPECT_EQ(options.state, "");
  EXPECT_EQ(options.log, "/var/log/intersync");
}

TEST(Options, AreTakenInEachSpelling) {
  const auto each = [](const std::string& name, const std::string& value, const auto& check) {
    const Words spellings[] = {{"-" + name, value},
                               {"--" + name, value},
                               {"-" + name + "=" + value},
                               {"--" + name + "=" + value}};
    for (const Words& words : spellings) {
      check(good(words));
    }
  };
  each("server", "h", [](const Options& got) { EXPECT_EQ(got.server, "h"); });
  each("server", "h:80", [](const Options& got) { EXPECT_EQ(got.server, "h:80"); });
  each("listen", "::1", [](const Options& got) { EXPECT_EQ(got.listen, "::1"); });
  each("port", "0", [](const Options& got) { EXPECT_EQ(got.port, 0); });
  each("port", "65535", [](const Options& got) { EXPECT_EQ(got.port, 65535); });
  each("commit-delay", "0", [](const Options& got) { EXPECT_EQ(got.commit_delay.count(), 0); });
  each("commit-delay", "60000",
       [](const Options& got) { EXPECT_EQ(got.commit_delay.count(), 60000); });
  each("state", "/s", [](const Options& got) { EXPECT_EQ(got.state, "/s"); });
  each("log", "/l", [](const Options& got) { EXPECT_EQ(got.log, "/l"); });
  each("log", "none", [](const Options& got) { EXPECT_EQ(got.log, ""); });
  each("debug", "0", [](const Options& got) { EXPECT_EQ(got.debug, 0U); });
  each("debug", "31", [](const Options& got) { EXPECT_EQ(got.debug, 31U); });
}

TEST(Options, StandBeforeOrBehindTheMountPoint) {
  const auto both = parse({"/mnt", "-plain-http", "--port", "80"});
  EXPECT_EQ(std::get<Options>(both).port, 80);
  EXPECT_EQ(std::get<Options>(both).mount_point, "/mnt");
  const auto dashed = parse({"--plain-http", "--", "-debug"});
  EXPECT_EQ(std::get<Options>(dashed).mount_point, "-debug");
  EXPECT_EQ(std::get<Options>(parse({"--plain-http", "-"})).mount_point, "-");
  // Each call begins anew.
  EXPECT_EQ(good({}).port, 7733);
}

TEST(Options, TheUsageNamesTheOptionThatMustBeGiven) {
  const std::string help = std::get<Said>(parse({"--help"})).text;
  std::istringstream lines(help.substr(0, help.find("\n\n")));
  for (std::string line; std::getline(lines, line);) {
    EXPECT_NE(line.find("intersync --plain-http [OPTION]... "), std::string::npos) << line;
  }
  EXPECT_NE(help.find("must be given"), std::string::npos);
}

TEST(Options, HelpAndVersionAreSaidInsteadOfAnythingElse) {
  for (const Words& words :
       {Words{"--help"}, Words{"-help"}, Words{"-h"}, Words{"--port=80", "--help", "--x"}}) {
    const auto said = std::get<Said>(parse(words));
    EXPECT_EQ(said.code, 0);
    EXPECT_TRUE(said.text.starts_with("usage: intersync ")) << said.text;
    EXPECT_TRUE(said.text.ends_with(".\n")) << said.text;
    for (const char* name : {"--server=", "--listen=", "--port=", "--plain-http",
                             "--commit-delay=", "--state=", "--log=", "-debug ", "-h, ", "--help",
                             "--version", "[ADDRESS]:PORT"}) {
      EXPECT_NE(said.text.find(name), std::string::npos) << name;
    }
  }
  for (const char* word : {"--version", "-version"}) {
    const auto said = std::get<Said>(parse({word}));
    EXPECT_EQ(said.code, 0);
    EXPECT_TRUE(said.text.starts_with("intersync ")) << said.text;
    EXPECT_EQ(std::ranges::count(said.text, '\n'), 1) << said.text;
  }
}

TEST(Options, ValuesThatDoNotFitAreRefused) {
  for (const std::string value : {"", "65536", "-1", "+1", "80 ", "0x50", "http"}) {
    EXPECT_EQ(complaint({"--port", value, "/mnt"}), see_help("--port=" + value + " is no port"));
  }
  for (const std::string value : {"", "60001", "-1", "1.5", "99999999999999999999"}) {
    EXPECT_EQ(complaint({"--commit-delay=" + value, "/mnt"}),
              see_help("--commit-delay=" + value + " is not from 0 to 60000"));
  }
  for (const std::string value : {"", "32", "-1", "all"}) {
    EXPECT_EQ(complaint({"-debug", value, "/mnt"}),
              see_help("-debug " + value + " is not from 0 to 31"));
  }
  for (const std::string value : {"", "h:", "h:0", "a:b:c", "fe80::1", "[fe80::1]80"}) {
    EXPECT_EQ(complaint({"--server=" + value, "/mnt"}),
              see_help("--server=" + value +
                       " is no HOST or HOST:PORT; an IPv6 address stands in brackets, as in "
                       "[fd00::1]:7733"));
  }
}

TEST(Options, WordsThatAreNoOptionsAreNamed) {
  for (const std::string word : {"--nothing", "-x", "-nothing=1", "--l=x", "-:"}) {
    // Wherever it stands.
    EXPECT_EQ(complaint({word, "/mnt"}), see_help(word + ": no such option"));
    EXPECT_EQ(complaint({"/mnt", "--port=1", word}), see_help(word + ": no such option"));
  }
  for (const std::string word : {"--server", "--listen", "--port", "--commit-delay", "--state",
                                 "--log", "-debug", "--debug"}) {
    EXPECT_EQ(complaint({"/mnt", word}), see_help(word + ": its value is missing"));
  }
}

TEST(Options, OneThatHasNoValueTakesNone) {
  EXPECT_EQ(complaint({"--plain-http=1", "/mnt"}), see_help("--plain-http takes no value"));
  EXPECT_EQ(complaint({"/mnt", "-help=x"}), see_help("--help takes no value"));
}

TEST(Options, OneMountPointMustBeThere) {
  EXPECT_EQ(complaint({}), see_help("MOUNTPOINT is missing"));
  EXPECT_EQ(complaint({"--plain-http"}), see_help("MOUNTPOINT is missing"));
  EXPECT_EQ(complaint({"--plain-http", "/a", "/b"}), see_help("/b: one MOUNTPOINT only"));
  EXPECT_EQ(complaint({"--plain-http", ""}), see_help("\"\" is no MOUNTPOINT"));
}

TEST(Options, WithoutEncryptionOnlyIfThatIsSaid) {
  const std::string text = complaint({"/mnt"});
  EXPECT_EQ(text,
            "there is no encryption yet: give --plain-http, on server and client, and only on a "
            "network that you trust (anybody on it can read and write everything)");
  EXPECT_EQ(complaint({"--server=h", "/mnt"}), text);
}

TEST(Options, AClientDoesNotListen) {
  const std::string text = "--listen and --port are a server's; a client says --server=HOST:PORT";
  for (const char* option : {"--port=7", "--port=7733", "--listen=::1"}) {
    EXPECT_EQ(complaint({"--plain-http", "--server=h", option, "/mnt"}),
              text + "; see intersync --help");
  }
}

TEST(BaseUrl, HasAHostAndAPort) {
  EXPECT_EQ(base_url("host"), "http://host:7733");
  EXPECT_EQ(base_url("a-b_c.Example.org"), "http://a-b_c.Example.org:7733");
  EXPECT_EQ(base_url("host:1"), "http://host:1");
  EXPECT_EQ(base_url("host:65535"), "http://host:65535");
  EXPECT_EQ(base_url("192.0.2.1:80"), "http://192.0.2.1:80");
  EXPECT_EQ(base_url("[::1]"), "http://[::1]:7733");
  EXPECT_EQ(base_url("[::1]:80"), "http://[::1]:80");
  EXPECT_EQ(base_url("[fe80::1%eth0]:80"), "http://[fe80::1%eth0]:80");
}

TEST(BaseUrl, WhatIsNoHostIsRefused) {
  for (const char* text :
       {"",          " ",          "a b",     " host",   "host ",    "host\n",      "host:",
        "host:0",    "host:65536", "host:-1", "host:+1", "host:80 ", "host:http",   "a:b:c",
        "a:1:2",     ":80",        ":",       "::1",     "[::1",     "[::1]x",      "[::1]x:80",
        "[::1]:",    "[::1]:0",    "[::1]]",  "[",       "[]",       "[]:80",       "]",
        "a[b",       "a]",         "[[::1]",  "[a b]",   "a%20b",    "http://host", "host/x",
        "user@host", "host?x",     "host#x",  "host\\x"}) {
    EXPECT_EQ(base_url(text), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace izo::daemon
