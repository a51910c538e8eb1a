// SPDX-License-Identifier: GPL-2.0
// For tests: peers that send whatever bytes they like, and requests with their answers collected.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <thread>

#include "base/main_loop.h"
#include "base/unique_fd.h"
#include "http/client.h"
#include "http/server.h"

namespace izo::http {

/// Beyond it a test has failed.
inline constexpr std::chrono::seconds kLimit{30};

/// A TCP connection to 127.0.0.1, blocking, with a time limit.
class RawConnection {
 public:
  explicit RawConnection(std::uint16_t port);
  explicit RawConnection(UniqueFd fd);

  /// False if the other side has closed.
  bool send(std::string_view text) const;
  /// Reads until the text so far ends with `end`, or the other side closes.
  [[nodiscard]] std::string read_until(std::string_view end) const;
  /// Reads until the other side closes.
  [[nodiscard]] std::string read_all() const { return read_until({}); }
  void close() { fd_.reset(); }
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  UniqueFd fd_;
};

/// Accepts one connection after the other, reads the head of a request and calls `script`; the
/// connection is closed when that returns.
class RawServer {
 public:
  using Script = std::function<void(const RawConnection&, const std::string& head)>;

  explicit RawServer(Script script);
  ~RawServer();
  RawServer(const RawServer&) = delete;
  RawServer& operator=(const RawServer&) = delete;

  [[nodiscard]] std::string base() const;
  [[nodiscard]] int accepted() const { return accepted_; }

 private:
  void serve();

  Script script_;
  UniqueFd socket_;
  std::atomic<bool> stop_{false};
  std::atomic<int> accepted_{0};
  std::thread thread_;
};

/// An answer, or why there is none.
struct Collected {
  Outcome outcome;
  std::string body;
  int heads = 0;
};

/// Sends a request and runs the loop until it has ended; nullopt if it does not.
std::optional<Collected> collect(MainLoop& loop, Client& client, Request request);

/// One server and one client, in the clear, on one loop.
struct TestPair {
  MainLoop loop;
  Server server;
  Client client;

  explicit TestPair(Server::Handler handler, Server::Options options = {},
                    Client::Options client_options = {});

  [[nodiscard]] std::string base() const;
  std::optional<Collected> get(const std::string& target) {
    return collect(loop, client, {.target = target});
  }
  /// Runs the loop until that holds.
  bool until(const std::function<bool()>& condition) { return loop.run_until(condition, kLimit); }
  /// Runs the loop while another thread does what it does.
  bool during(const std::function<void()>& function);
};

/// Bytes of a text, as answers and requests take them.
std::vector<std::byte> bytes_of(std::string_view text);

/// An answer with a text.
Answer text_answer(std::string_view text, int status = 200);

}  // namespace izo::http
