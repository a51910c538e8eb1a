// SPDX-License-Identifier: GPL-2.0
// What is behind Server: libmicrohttpd's daemon and its callbacks.
#pragma once

#include <microhttpd.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_set>

#include "base/main_loop.h"
#include "http/connection_limits.h"
#include "http/conversation.h"
#include "http/server.h"

namespace izo::http {

class ServerCore : public std::enable_shared_from_this<ServerCore> {
 public:
  ServerCore(MainLoop& loop, const Server::Options& options, Server::Handler handler);
  ServerCore(const ServerCore&) = delete;
  ServerCore& operator=(const ServerCore&) = delete;

  void start(const Security& security);
  void stop();
  [[nodiscard]] std::uint16_t port() const { return port_; }
  [[nodiscard]] Server::Counters counters() const;

 private:
  using ConversationPtr = std::shared_ptr<Conversation>;

  // libmicrohttpd calls these in its threads; `self` is the core.
  static void* on_target(void* self, const char* target, MHD_Connection* connection) noexcept;
  static MHD_Result on_request(void* self, MHD_Connection* connection, const char* url,
                               const char* method, const char* version, const char* data,
                               std::size_t* size, void** conversation) noexcept;
  static void on_completed(void* self, MHD_Connection* connection, void** conversation,
                           MHD_RequestTerminationCode how) noexcept;
  static void on_connection(void* self, MHD_Connection* connection, void** unused,
                            MHD_ConnectionNotificationCode what) noexcept;

  MHD_Result take(const ConversationPtr& conversation, MHD_Connection* connection,
                  const char* method, const char* version, Bytes data);
  MHD_Result take_head(Conversation& conversation, MHD_Connection* connection, const char* method,
                       const char* version);
  /// The status that refuses a head; 0 if it is right.
  int judge(Conversation& conversation, MHD_Connection* connection, const char* method,
            const char* version);
  int judge_body(Conversation& conversation);
  MHD_Result ask(const ConversationPtr& conversation, MHD_Connection* connection);
  MHD_Result refuse(Conversation& conversation, MHD_Connection* connection, int status);
  MHD_Result send(const ConversationPtr& conversation, MHD_Connection* connection,
                  Conversation::Reply reply);

  void limit(MHD_Connection* connection, std::optional<std::chrono::seconds> time);
  void look_for_late();

  MainLoop& loop_;
  const Server::Options options_;
  const Server::Handler handler_;
  std::uint16_t port_ = 0;

  std::atomic<std::uint64_t> connections_{0};
  std::atomic<std::uint64_t> open_{0};
  std::atomic<std::uint64_t> requests_{0};
  std::atomic<std::uint64_t> refused_{0};
  std::atomic<std::uint64_t> cut_{0};
  std::atomic<std::size_t> bodies_{0};  // bytes that requests being received may take
  ConnectionLimits limits_;

  std::mutex mutex_;
  std::unordered_set<ConversationPtr> conversations_;  // under mutex_
  bool stopping_ = false;                              // under mutex_

  // The loop's.
  MainLoop::Handle late_;
  std::atomic<bool> looking_{false};  // late_ is armed, or will be by what was posted

  struct Stop {
    void operator()(MHD_Daemon* daemon) const { MHD_stop_daemon(daemon); }
  };
  std::unique_ptr<MHD_Daemon, Stop> daemon_;
};

}  // namespace izo::http
