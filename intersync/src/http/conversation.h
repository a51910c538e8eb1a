// SPDX-License-Identifier: GPL-2.0
// One request between a thread of libmicrohttpd, which receives and sends, and the loop, which
// answers.
//
// The connection sleeps (is "suspended") while the loop has the turn: from the end of the request
// to the answer, and whenever a streamed answer has nothing to send. Only then does the loop look
// whether the client is still there, as libmicrohttpd does not, and only then may it: the
// descriptor belongs to libmicrohttpd, which leaves a sleeping connection alone.
#pragma once

#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "base/main_loop.h"
#include "http/exchange.h"

struct MHD_Connection;

namespace izo::http {

class Conversation : public std::enable_shared_from_this<Conversation> {
 public:
  /// What the loop has buffered for a client before it is asked to wait, and when it may go on.
  static constexpr std::size_t kMuch = std::size_t{1} << 20;
  static constexpr std::size_t kLittle = std::size_t{256} << 10;

  /// An answer whose body comes through write().
  struct Streamed {
    int status = 200;
    Headers headers;
  };
  using Reply = std::variant<Answer, Streamed>;

  Conversation(MainLoop& loop, MHD_Connection* connection, int fd, std::string target);
  Conversation(const Conversation&) = delete;
  Conversation& operator=(const Conversation&) = delete;

  // A server thread's, until the connection sleeps for the first time; then the loop's.

  enum class Stage { kHead, kBody, kAsked, kAnswered };
  Stage stage = Stage::kHead;
  Incoming incoming;
  std::size_t reserved = 0;  ///< Bytes of the server's budget that its body takes.
  [[nodiscard]] const std::string& target() const { return target_; }

  // For server threads.

  /// Lets the connection sleep until the loop has answered; false if the server stops.
  bool sleep();
  /// The answer, after the connection woke; nullopt: close it.
  std::optional<Reply> take_reply();
  /// The next piece of a streamed body, at most as long as `out`. 0: the connection sleeps.
  /// kEnd: that was all. kCut: it will never be whole.
  static constexpr ssize_t kEnd = -1;
  static constexpr ssize_t kCut = -2;
  ssize_t read(std::span<std::byte> out);
  /// libmicrohttpd is done with the request; its connection is not used any more.
  void end(bool whole);

  // For the loop.

  /// Looks out for the client while the connection sleeps.
  void watch();
  [[nodiscard]] bool gone() const { return gone_; }
  [[nodiscard]] bool replied() const { return replied_; }
  void reply(Reply reply);
  bool write(std::vector<std::byte> bytes);
  void finish();
  /// The connection is cut, whatever it does, and the holder told, unless all is over.
  void cut();
  void set_gone(MainLoop::Function function) { on_gone_ = std::move(function); }
  void set_room(MainLoop::Function function) { on_room_ = std::move(function); }
  /// Nobody holds the loop's side any more: its functions end on the loop.
  void forget();

 private:
  void wake(const std::lock_guard<std::mutex>& held);
  void lose();

  MainLoop& loop_;
  const std::string target_;
  const int fd_;

  std::mutex mutex_;
  // Under mutex_.
  MHD_Connection* connection_;  // null: over
  bool asleep_ = false;
  bool cut_ = false;
  std::optional<Reply> reply_;
  std::deque<std::vector<std::byte>> pieces_;
  std::size_t used_ = 0;      // bytes of the first piece that were sent
  std::size_t buffered_ = 0;  // bytes in pieces_ not sent yet
  bool finished_ = false;
  bool full_ = false;  // write() said so, and nobody was told otherwise since

  // The loop's.
  MainLoop::Handle watch_;
  bool replied_ = false;
  bool gone_ = false;
  MainLoop::Function on_gone_;
  MainLoop::Function on_room_;
};

}  // namespace izo::http
