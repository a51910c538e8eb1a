// SPDX-License-Identifier: GPL-2.0
// One request that came to the server, and its answer. All on the loop.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/main_loop.h"
#include "base/unique_fd.h"
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

/// A part of a file. If the file becomes shorter meanwhile, the connection is cut.
struct FilePart {
  UniqueFd file;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};

/// Gives a body piece by piece: fills the span from its front and returns the number of bytes; 0 at
/// the end; a negative number, or an exception, cuts the connection. Called and destroyed in a
/// thread of the server, never twice at once; must not wait for the loop.
using Reader = std::function<ssize_t(std::span<std::byte>)>;

struct Answer {
  int status = 200;
  Headers headers;
  std::variant<std::vector<std::byte>, FilePart, Reader> body;
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

  /// Answers; once. Nothing happens if the client is gone. Throws Error for headers that cannot be
  /// sent, and then has not answered.
  void answer(Answer answer);
  /// Begins an answer whose body comes later.
  StreamWriter stream(int status, Headers headers);

 private:
  std::shared_ptr<Conversation> conversation_;
};

}  // namespace izo::http
