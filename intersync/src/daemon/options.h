// SPDX-License-Identifier: GPL-2.0
// What intersync(8) is told on its command line. Pure.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include "base/command_line.h"

namespace izo::daemon {

struct Options {
  std::string mount_point;
  std::string server;  ///< HOST[:PORT] of a client; empty: this is the server.
  std::string listen;  ///< Numeric address; empty: all.
  std::uint16_t port = 0;
  bool plain_http = false;
  unsigned debug = 0;  ///< Bits of log::Topic.
  std::chrono::milliseconds commit_delay{10};
  std::string state;  ///< Instead of /var/intermezzo-N.
  std::string log = "/var/log/intersync";

  bool operator==(const Options&) const = default;
};

/// The words of the command line, the program's name first; or what to say instead.
std::variant<Options, Said> options_from(int argc, char** argv);

/// "http://HOST:PORT" for a client's requests; nullopt if that is no HOST[:PORT].
std::optional<std::string> base_url(const std::string& server);

}  // namespace izo::daemon
