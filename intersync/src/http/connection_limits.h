// SPDX-License-Identifier: GPL-2.0
// How long each connection may take for what it does now. libmicrohttpd's own limit begins again
// with every byte, so that a client could hold a connection for ever with a byte now and then.
#pragma once

#include <chrono>
#include <cstddef>
#include <mutex>
#include <optional>
#include <unordered_map>

struct MHD_Connection;

namespace izo::http {

/// Any thread. Never calls libmicrohttpd, whose locks may be held.
class ConnectionLimits {
 public:
  using Time = std::chrono::steady_clock::time_point;

  /// A connection opened; its descriptor is good until close().
  void open(MHD_Connection* connection, int fd, Time deadline);
  /// What it does now must be done by then; nullopt: it is not its turn.
  void set(MHD_Connection* connection, std::optional<Time> deadline);
  void close(MHD_Connection* connection);

  /// Shuts down connections that are late, once each; the thread they belong to sees that as an end
  /// from outside. Returns how many.
  std::size_t cut_late(Time now);
  /// When the next one will be late.
  [[nodiscard]] std::optional<Time> next() const;

 private:
  struct Connection {
    int fd = -1;
    std::optional<Time> deadline;
  };
  mutable std::mutex mutex_;
  std::unordered_map<MHD_Connection*, Connection> connections_;  // under mutex_
};

}  // namespace izo::http
