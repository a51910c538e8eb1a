// SPDX-License-Identifier: GPL-2.0
// Requests to one peer, through libcurl's multi interface on the main loop. HTTP/1.1.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/main_loop.h"
#include "http/message.h"

namespace izo::http {

struct Request {
  Method method = Method::kGet;
  std::string target;  ///< As to_string(Target) writes it.
  Headers headers;
  std::vector<std::byte> body;                     ///< Of a POST; at most kMaxRequestBody bytes.
  std::uint64_t longest_answer = kMaxRequestBody;  ///< Bytes of its body; a longer one is cut off.
  /// The longest time in which no byte goes either way; of a long poll more than it may wait.
  std::chrono::milliseconds patience{30000};
};

/// The head of an answer.
struct AnswerHead {
  int status = 0;
  Headers headers;
  std::optional<std::uint64_t> length;  ///< Of the body, if the server said so.
};

/// How a request ended.
struct Outcome {
  enum class How {
    kComplete,     ///< The whole answer came; whether it is good news is in its status.
    kUnreachable,  ///< No connection: name, route, refusal, TLS, time.
    kBroken,       ///< The connection ended early, or what came is not HTTP.
    kTimedOut,     ///< No byte for as long as the request's patience.
    kTooLong,      ///< More head than kMaxHeadBytes, or more body than longest_answer.
    kRefused,      ///< The receiver did not want it.
  };
  How how = How::kBroken;
  AnswerHead head;             ///< Status 0 if none came.
  std::uint64_t received = 0;  ///< Bytes of the body that were given to the receiver.
  std::string error;           ///< One line with the URL; empty if complete.
};

/// Who gets the answer; all on the loop, any may be empty. May start and cancel requests, also its
/// own, and end the client.
struct Receiver {
  /// Once, before the body. False: it is not wanted.
  std::function<bool(const AnswerHead&)> head;
  /// The body in pieces, which last until the call returns. False: no more is wanted.
  std::function<bool(Bytes)> data;
  /// Last of all, unless the request was cancelled.
  std::function<void(const Outcome&)> done;
};

class Client {
 public:
  struct Options {
    std::chrono::milliseconds connect_timeout{10000};  ///< Name, connection and TLS together.
    std::size_t connections = 8;  ///< At once; what is more waits in the order of its start.
  };

  /// A request that is under way or waiting; cancelled when this ends. May outlive the client.
  class Transfer {
   public:
    Transfer() = default;
    Transfer(Transfer&& other) noexcept = default;
    Transfer& operator=(Transfer&& other) noexcept;
    Transfer(const Transfer&) = delete;
    Transfer& operator=(const Transfer&) = delete;
    ~Transfer() { cancel(); }

    /// Nothing of the receiver is called any more; but one of its functions that is running ends
    /// first.
    void cancel() noexcept;
    [[nodiscard]] bool active() const;

   private:
    friend class Client;
    std::weak_ptr<class ClientCore> core_;
    std::uint64_t id_ = 0;
  };

  /// `base` is "https://HOST[:PORT]", with PlainHttp "http://…": else throws Error, so that nobody
  /// is without encryption by mistake. The loop must live longer.
  Client(MainLoop& loop, std::string base, Security security, const Options& options);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  /// Calls back from the loop, never before this returns. Throws Error for a request that cannot be
  /// sent: wrong target or header, too long a body, a body with GET.
  [[nodiscard]] Transfer start(Request request, Receiver receiver);

 private:
  std::shared_ptr<class ClientCore> core_;
};

}  // namespace izo::http
