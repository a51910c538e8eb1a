// SPDX-License-Identifier: GPL-2.0
#include "daemon/options.h"

#include <getopt.h>

#include <array>
#include <charconv>
#include <limits>
#include <string_view>

#include "base/log.h"
#include "daemon/wire_limits.h"

namespace izo::daemon {
namespace {

constexpr const char* kHelp =
    "usage: intersync [OPTION]... MOUNTPOINT                  serve the fileset mounted there\n"
    "       intersync [OPTION]... --server=HOST[:PORT] MOUNTPOINT   be a client of that server\n"
    "\n"
    "Keeps the fileset the same on a server and its clients.\n"
    "\n"
    "  --server=HOST[:PORT]  of whom to be a client\n"
    "  --listen=ADDRESS      a server's numeric address (default: all)\n"
    "  --port=N              a server's port (default: 7733; 0: any that is free)\n"
    "  --plain-http          without encryption: anybody on the network can read and write\n"
    "                        everything; on both sides\n"
    "  --commit-delay=MS     how soon a change is brought onto the medium to be sent (default: "
    "10)\n"
    "  --state=DIR           instead of /var/intermezzo-N\n"
    "  --log=DIR             instead of /var/log/intersync; \"none\": stderr only\n"
    "  -debug N              what to say: a sum of 1 general, 2 log, 4 upcalls, 8 HTTP,\n"
    "                        16 reintegration\n"
    "  --help, --version\n"
    "\n"
    "Stops at SIGTERM; opens its log anew at SIGHUP. See intersync(8).\n";

enum Option : int {
  kServer = 256,
  kListen,
  kPort,
  kPlainHttp,
  kCommitDelay,
  kState,
  kLog,
  kDebug,
  kHelpWanted,
  kVersion,
};

Said wrong(const std::string& what) {
  return {.code = 2, .text = "intersync: " + what + "; see intersync --help\n"};
}

template <typename T>
bool number(std::string_view text, T most, T& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size() && !text.empty() && out <= most;
}

/// The option's effect; empty, or what is wrong.
std::string apply(Options& out, int option, const std::string& value) {
  std::uint32_t milliseconds = 0;
  switch (option) {
    case kServer:
      out.server = value;
      return base_url(value) ? "" : "--server=" + value + " is no HOST or HOST:PORT";
    case kListen:
      out.listen = value;
      return "";
    case kPort:
      return number<std::uint16_t>(value, std::numeric_limits<std::uint16_t>::max(), out.port)
                 ? ""
                 : "--port=" + value + " is no port";
    case kPlainHttp:
      out.plain_http = true;
      return "";
    case kCommitDelay:
      if (!number<std::uint32_t>(value, 60000, milliseconds)) {
        return "--commit-delay=" + value + " is not from 0 to 60000";
      }
      out.commit_delay = std::chrono::milliseconds(milliseconds);
      return "";
    case kState:
      out.state = value;
      return "";
    case kLog:
      out.log = value == "none" ? "" : value;
      return "";
    default:
      return number<unsigned>(value, log::kTopics, out.debug)
                 ? ""
                 : "-debug " + value + " is not from 0 to 31";
  }
}

}  // namespace

std::optional<std::string> base_url(const std::string& server) {
  const bool bracketed = server.starts_with('[');
  const std::size_t close = bracketed ? server.find(']') : std::string::npos;
  if (bracketed && close == std::string::npos) {
    return std::nullopt;
  }
  const std::size_t colon = bracketed ? server.find(':', close) : server.find(':');
  const std::string host = server.substr(0, colon);
  std::uint16_t port = kDefaultPort;
  if (colon != std::string::npos &&
      (!number<std::uint16_t>(std::string_view(server).substr(colon + 1),
                              std::numeric_limits<std::uint16_t>::max(), port) ||
       port == 0)) {
    return std::nullopt;
  }
  // A numeric address of IPv6 stands in brackets, and has what no other has.
  const std::string name = bracketed ? server.substr(1, close - 1) : host;
  const bool fit =
      name.find_first_not_of(
          std::string("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") +
          (bracketed ? ":%" : "")) == std::string::npos;
  if (name.empty() || !fit || (bracketed && colon != std::string::npos && colon != close + 1) ||
      (bracketed && colon == std::string::npos && close + 1 != server.size())) {
    return std::nullopt;
  }
  return "http://" + host + ":" + std::to_string(port);
}

std::variant<Options, Said> options_from(int argc, char** argv) {
  static constexpr std::array<option, 11> kOptions{{
      {"server", required_argument, nullptr, kServer},
      {"listen", required_argument, nullptr, kListen},
      {"port", required_argument, nullptr, kPort},
      {"plain-http", no_argument, nullptr, kPlainHttp},
      {"commit-delay", required_argument, nullptr, kCommitDelay},
      {"state", required_argument, nullptr, kState},
      {"log", required_argument, nullptr, kLog},
      {"debug", required_argument, nullptr, kDebug},
      {"help", no_argument, nullptr, kHelpWanted},
      {"version", no_argument, nullptr, kVersion},
      {nullptr, 0, nullptr, 0},
  }};
  Options out{.port = kDefaultPort};
  bool port_said = false;
  optind = 0;
  opterr = 0;
  for (int option = 0;
       (option = ::getopt_long_only(argc, argv, ":", kOptions.data(), nullptr)) != -1;) {
    if (option == kHelpWanted) {
      return Said{.code = 0, .text = kHelp};
    }
    if (option == kVersion) {
      return Said{.code = 0, .text = "intersync " IZO_VERSION "\n"};
    }
    if (option == '?' || option == ':') {
      return wrong(std::string(argv[optind - 1]) +
                   (option == '?' ? ": no such option" : ": its value is missing"));
    }
    port_said = port_said || option == kPort;
    if (const std::string fault = apply(out, option, optarg != nullptr ? optarg : "");
        !fault.empty()) {
      return wrong(fault);
    }
  }
  if (optind + 1 != argc) {
    return wrong(optind == argc ? "MOUNTPOINT is missing"
                                : std::string(argv[optind + 1]) + ": one MOUNTPOINT only");
  }
  out.mount_point = argv[optind];
  if (!out.server.empty() && (port_said || !out.listen.empty())) {
    return wrong("--listen and --port are a server's; a client says --server=HOST:PORT");
  }
  if (!out.plain_http) {
    return Said{.code = 2,
                .text =
                    "intersync: without encryption (--plain-http, on both sides) anybody on "
                    "the network can read and write everything; with it there is no "
                    "enrolment of peers yet: say --plain-http on a network that you trust\n"};
  }
  return out;
}

}  // namespace izo::daemon
