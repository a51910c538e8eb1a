// SPDX-License-Identifier: GPL-2.0
// The server: requests of clients to the engine, and its answers back.
#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "base/clock.h"
#include "base/error.h"
#include "base/main_loop.h"
#include "daemon/kernel_replica.h"
#include "daemon/message_reader.h"
#include "daemon/sendings.h"
#include "daemon/uploads.h"
#include "http/exchange.h"
#include "repl/server.h"

namespace izo::daemon {

class ServerSide {
 public:
  /// All must live longer. `fileset`: the name that clients must ask for; `followed` is called
  /// whenever is_followed() has become true.
  ServerSide(MainLoop& loop, const Clock& clock, Random& random, KernelReplica& replica,
             std::string fileset, std::function<void()> followed);

  /// Answers a request, at once or when there is something to say. On the loop.
  void handle(http::Exchange exchange);

  /// There is something new in our log, on the medium.
  void log_grew();

  /// Does a client follow our log, so that it shall come onto the medium soon?
  [[nodiscard]] bool is_followed() const { return !waiting_.empty(); }

 private:
  /// A client that has all of our log.
  struct Waiting {
    http::Exchange exchange;
    repl::Pull pull;
    MainLoop::Handle limit;
  };
  using Place = std::list<Waiting>::iterator;

  void answer_message(http::Exchange& exchange, proto::Kind kind);
  void answer_upload(http::Exchange& exchange);
  void answer(http::Exchange& exchange, const repl::Request& request);
  /// Answers a Pull, or lets it wait; `now`: it must be answered.
  void pull(http::Exchange& exchange, const repl::Pull& pull, bool now);
  void wait(http::Exchange exchange, const repl::Pull& pull);
  void end_wait(Place place);
  /// Is there something in an answer to a Pull that the client does not know?
  [[nodiscard]] bool is_news(const repl::Pull& pull, const repl::Response& response);
  /// Does that for a request. If it fails the client is told why, and false returned.
  bool attempt(http::Exchange& exchange, const std::function<void()>& function);
  /// The file system failed. What is asked for again and again is said once.
  void complain(const std::exception& error);
  /// The same, and the client is told.
  void fail(http::Exchange& exchange, const std::exception& error);
  repl::Response decide(const repl::Request& request);
  /// A client's records are not applied now, or empty: they are. Said when it changes.
  void say_what_waits(const kml::Uuid& client, const std::string& why);
  /// Every ten seconds: what is kept for clients that may come back, and do not.
  void forget_old();
  void send(http::Exchange& exchange, const repl::Response& response);
  void send_bodies(http::Exchange& exchange, const repl::Fetch& fetch, repl::Fetched fetched);
  /// The file of one of them fails. Said once.
  void cannot_read(const kml::Fid& fid, const SysError& error);

  MainLoop& loop_;
  KernelReplica& replica_;
  std::string fileset_;
  std::function<void()> followed_;
  Uploads uploads_;
  Sendings sendings_;
  std::string failed_;  // the last failure that was said, until a Push succeeds
  std::string pushes_;  // who sent the last Push
  std::map<kml::Uuid, std::string> stopped_;  // by client: why its records wait
  std::set<kml::Fid> unread_;                 // bodies that could not be read, as was said
  std::unique_ptr<repl::Server> engine_;      // null: its next use reads the tree anew
  MainLoop::Handle again_;
  std::list<Waiting> waiting_;
  /// The end of our log at which a client was last told the digest: once for each, as it cannot
  /// use it before it has pushed all of its own.
  std::map<kml::Uuid, std::uint64_t> told_;
};

}  // namespace izo::daemon
