// SPDX-License-Identifier: GPL-2.0
// A server of HTTP/1.1, through libmicrohttpd. Its threads move bytes; every request is handed to
// the main loop, which answers when it likes: its connection sleeps until then.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/main_loop.h"
#include "http/exchange.h"
#include "http/message.h"

namespace izo::http {

/// What a request may not do: come with a head that does not fit into 32 KiB with what is kept of
/// it (431), a body of more than kMaxRequestBody (413) or of unknown length (411), a method but GET
/// and POST (405), a target that parse_target() refuses (400), or slowly: its connection is cut.
/// Nobody sees such requests.
class Server {
 public:
  struct Options {
    std::string address;     ///< Numeric; empty: all addresses, IPv6 and IPv4.
    std::uint16_t port = 0;  ///< 0: any that is free.
    unsigned threads = 2;
    unsigned connections = 512;
    unsigned connections_per_address = 64;
    std::size_t bodies = std::size_t{64} << 20;  ///< Bytes of requests in memory; beyond it: 503.
    std::chrono::seconds head_limit{10};         ///< From a connection to its first request's head.
    std::chrono::seconds body_limit{300};        ///< From a head to the end of its body.
    std::chrono::seconds idle_limit{75};  ///< From an answer to the next head; or while sending.
  };

  struct Counters {
    std::uint64_t connections = 0;  ///< Accepted since the start.
    std::uint64_t open = 0;         ///< Connections now.
    std::uint64_t requests = 0;     ///< Handed to the loop since the start.
    std::uint64_t refused = 0;      ///< Requests that the loop did not see.
    std::uint64_t cut = 0;          ///< Connections that were too slow.
  };

  using Handler = std::function<void(Exchange)>;

  /// Listens when this returns; calls `handler` on the loop, which must live longer. Throws
  /// SysError, or Error for what TLS is missing.
  Server(MainLoop& loop, const Security& security, const Options& options, Handler handler);
  /// As stop().
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /// Closes all connections, also those that wait for an answer, and waits for the threads. On the
  /// loop. Exchanges that are still held are "gone" then.
  void stop();

  [[nodiscard]] std::uint16_t port() const;
  [[nodiscard]] Counters counters() const;

 private:
  std::shared_ptr<class ServerCore> core_;
};

}  // namespace izo::http
