// SPDX-License-Identifier: GPL-2.0
#include "daemon/options.h"

#include <charconv>
#include <limits>
#include <string_view>

#include "base/log.h"
#include "daemon/wire_limits.h"

namespace izo::daemon {
namespace {

constexpr const char* kHelp =
    "usage: intersync --plain-http [OPTION]... MOUNTPOINT\n"
    "       intersync --plain-http [OPTION]... --server=HOST[:PORT] MOUNTPOINT\n"
    "\n"
    "Keeps the fileset mounted at MOUNTPOINT the same on a server and its clients: serves it, or\n"
    "with --server is a client of that server.\n"
    "\n"
    "  --plain-http          without encryption: anybody on the network can read and write\n"
    "                        everything. There is nothing else yet: it must be given, on both "
    "sides\n"
    "  --server=HOST[:PORT]  of whom to be a client; by an IPv6 address: "
    "--server='[ADDRESS]:PORT'\n"
    "  --listen=ADDRESS      a server's numeric address, without brackets (default: all)\n"
    "  --port=N              a server's port (default: 7733; 0: any that is free)\n"
    "  --commit-delay=MS     how soon a change is brought onto the medium to be sent (default: "
    "10)\n"
    "  --state=DIR           instead of /var/intermezzo-N\n"
    "  --log=DIR             instead of /var/log/intersync; \"none\": stderr only\n"
    "  -debug N              what to say: a sum of 1 general, 2 log, 4 upcalls, 8 HTTP,\n"
    "                        16 reintegration\n"
    "  -h, --help, --version\n"
    "\n"
    "Stops at SIGTERM; opens its log anew at SIGHUP. See intersync(8).\n";

template <typename T>
bool number(std::string_view text, T most, T& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size() && !text.empty() && out <= most;
}

Said wrong(const std::string& what) {
  return wrong_usage("intersync", what);
}

/// An option whose value is taken as it is.
CommandOption text(const char* name, std::string& out) {
  return {name, true, [&out](const std::string& value) {
            out = value;
            return std::string();
          }};
}

std::string take_server(Options& out, const std::string& value) {
  out.server = value;
  return base_url(value) ? ""
                         : "--server=" + value +
                               " is no HOST or HOST:PORT; an IPv6 address stands in brackets, as "
                               "in [fd00::1]:7733";
}

std::string take_port(Options& out, const std::string& value) {
  return number<std::uint16_t>(value, std::numeric_limits<std::uint16_t>::max(), out.port)
             ? ""
             : "--port=" + value + " is no port";
}

std::string take_commit_delay(Options& out, const std::string& value) {
  std::uint32_t milliseconds = 0;
  if (!number<std::uint32_t>(value, 60000, milliseconds)) {
    return "--commit-delay=" + value + " is not from 0 to 60000";
  }
  out.commit_delay = std::chrono::milliseconds(milliseconds);
  return "";
}

std::string take_log(Options& out, const std::string& value) {
  out.log = value == "none" ? "" : value;
  return "";
}

std::string take_debug(Options& out, const std::string& value) {
  return number<unsigned>(value, log::kTopics, out.debug)
             ? ""
             : "-debug " + value + " is not from 0 to 31";
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
  Options out{.port = kDefaultPort};
  bool port_said = false;
  const auto with_value = [&out](const char* name, auto take) {
    return CommandOption{name, true,
                         [&out, take](const std::string& value) { return take(out, value); }};
  };
  const Command command{
      .name = "intersync",
      .help = kHelp,
      .version = "intersync " IZO_VERSION "\n",
      .operand = "MOUNTPOINT",
      .takes_one_dash = true,  // as the first intersync had them
      .options = {with_value("server", take_server), text("listen", out.listen),
                  with_value("port",
                             [&port_said](Options& options, const std::string& value) {
                               port_said = true;
                               return take_port(options, value);
                             }),
                  flag("plain-http", out.plain_http), with_value("commit-delay", take_commit_delay),
                  text("state", out.state), with_value("log", take_log),
                  with_value("debug", take_debug)}};
  const std::variant<std::vector<std::string>, Said> parsed = parse(command, argc, argv);
  if (const auto* said = std::get_if<Said>(&parsed)) {
    return *said;
  }
  out.mount_point = std::get<std::vector<std::string>>(parsed)[0];
  if (!out.server.empty() && (port_said || !out.listen.empty())) {
    return wrong("--listen and --port are a server's; a client says --server=HOST:PORT");
  }
  if (!out.plain_http) {
    return Said{.code = 2,
                .text =
                    "intersync: there is no encryption yet: give --plain-http, on server and "
                    "client, and only on a network that you trust (anybody on it can read and "
                    "write everything)\n"};
  }
  return out;
}

}  // namespace izo::daemon
