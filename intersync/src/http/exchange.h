// SPDX-License-Identifier: GPL-2.0
// One request that came to the server, and its answer. All on the loop.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/main_loop.h"
#include "http/message.h"
#include "http/target.h"

namespace izo::http {

/// SHA-256 of the public key in a certificate: who a peer is, also after its certificate was
/// renewed.
using KeyId = std::array<std::uint8_t, 32>;

/// A request, checked and bounded.
struct Incoming {
  Method method = Method::kGet;
  Target target;
  Headers headers;
  std::vector<std::byte> body;
  std::string address;       ///< Of the client, numeric.
  std::optional<KeyId> key;  ///< Of the client; always there with TLS.
};

struct Answer {
  int status = 200;
  Headers headers;
  std::vector<std::byte> body;
};

/// A body that the loop writes. Ends the answer when it ends: without finish() the client sees that
/// it is not whole.
class StreamWriter {
 public:
  StreamWriter() = default;
  explicit StreamWriter(std::shared_ptr<class Conversation> conversation);
  StreamWriter(StreamWriter&& other) noexcept = default;
  StreamWriter& operator=(StreamWriter&& other) noexcept;
  StreamWriter(const StreamWriter&) = delete;
  StreamWriter& operator=(const StreamWriter&) = delete;
  ~StreamWriter();

  /// Sends these after those before. Returns whether more is welcome now; what is written although
  /// it is not is kept in memory.
  bool write(std::vector<std::byte> bytes);
  /// Calls when more is welcome again, after write() returned false.
  void on_room(MainLoop::Function function);
  /// Calls when the client went away before it had all, or the server stops.
  void on_gone(MainLoop::Function function);
  [[nodiscard]] bool gone() const;
  /// The answer is whole.
  void finish();

 private:
  std::shared_ptr<Conversation> conversation_;
};

/// A request that waits for its answer. May be kept for as long as it takes (a long poll). One that
/// ends without an answer is answered with status 503.
class Exchange {
 public:
  explicit Exchange(std::shared_ptr<class Conversation> conversation);
  Exchange(Exchange&& other) noexcept = default;
  Exchange& operator=(Exchange&& other) noexcept;
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;
  ~Exchange();

  [[nodiscard]] const Incoming& request() const;

  /// Calls when the client goes away before it is answered, or the server stops. Clients that only
  /// stop sending count as gone.
  void on_gone(MainLoop::Function function);
  [[nodiscard]] bool gone() const;
  /// Was it answered, or is it another's now?
  [[nodiscard]] bool answered() const;

  /// Answers; once. Nothing happens if the client is gone. Throws Error for headers that cannot be
  /// sent, and then has not answered.
  void answer(Answer answer);
  /// Begins an answer whose body comes later.
  StreamWriter stream(int status, Headers headers);

 private:
  std::shared_ptr<Conversation> conversation_;
};

}  // namespace izo::http
