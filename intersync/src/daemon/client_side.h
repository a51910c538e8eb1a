// SPDX-License-Identifier: GPL-2.0
// The client: the engine's requests to the server, and the answers back to it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/backoff.h"
#include "base/main_loop.h"
#include "base/random.h"
#include "daemon/kernel_replica.h"
#include "daemon/message_reader.h"
#include "http/client.h"
#include "repl/client.h"

namespace izo::daemon {

class ClientSide {
 public:
  /// All must live longer. `fileset`: the name that is asked for; `followed` is called whenever
  /// is_followed() has become true.
  ClientSide(MainLoop& loop, Random& random, KernelReplica& replica, http::Client& http,
             std::string fileset, std::function<void()> followed);

  /// Does all that can be done now. On the loop; later it goes on by itself.
  void step();

  /// There is something new in our log, on the medium.
  void log_grew() { step(); }

  /// Is there a server that follows our log, so that it shall come onto the medium soon?
  [[nodiscard]] bool is_followed() const { return connected_; }

 private:
  /// A request that is under way.
  struct Exchange {
    repl::Request request;
    std::unique_ptr<MessageReader> reader;
    int status = 0;
    std::string problem;  ///< What the server says instead of an answer.
    std::string failure;  ///< What failed here.
    http::Client::Transfer transfer;
  };
  /// A Push on its way: bodies first, one after the other.
  struct Pushing {
    repl::Push push;
    std::vector<std::uint64_t> uploads;  ///< For each record: number of its upload, or 0.
    std::size_t at = 0;                  ///< The record whose body is next.
    std::uint64_t version = 0;           ///< Of that body.
    std::uint64_t offset = 0;            ///< In it.
    bool resumes = false;                ///< The server may have less of it than that.
    std::uint64_t bodies = 0;            ///< Bytes of those that come with the records.
    std::string answer;
    http::Client::Transfer transfer;
  };
  /// A body that the server has a part of, or all, and no record with it yet. It is held open, so
  /// that it is known whether it has changed when it is its turn again.
  struct Upload {
    std::shared_ptr<repl::Body> body;
    std::uint64_t version = 0;  ///< A random number that the server knows it by.
    std::uint64_t offset = 0;
  };
  /// What came of a body before the connection ended.
  struct Part {
    std::uint64_t number = 0;  ///< The server's, of the body.
    StagedBody body;
  };

  void send(repl::Request request);
  void send_bytes(repl::Request request, std::vector<std::byte> bytes);
  /// What came before of a body that was asked for, under the server's number.
  std::optional<StagedBody> begun(const repl::Request& request, std::uint32_t index,
                                  std::uint64_t number);
  /// Of an answer that was cut off.
  void keep_what_came(const Exchange& exchange);
  void push(repl::Push push);
  /// Uploads what is next of the bodies, or sends the records.
  void go_on_pushing();
  /// Begins to upload a body, or goes on.
  void begin_upload(const BodyFile& body);
  void upload(const BodyFile& body);
  void on_uploaded(const http::Outcome& outcome);
  /// The file of the body that is being uploaded was removed.
  void give_up_upload();
  void send_records();
  void take(const std::shared_ptr<Exchange>& exchange, const http::Outcome& outcome);
  /// Why there is no answer in what came; empty: there may be one.
  static std::string why_failed(const Exchange& exchange, const http::Outcome& outcome);
  /// `is_lost`: only the connection is, and a part of the answer may be here.
  void take_failure(const Exchange& exchange, bool is_lost, std::string why);
  void take_response(const Exchange& exchange, repl::Response response);
  /// Something failed that another connection makes good.
  void fail(const std::string& why);
  /// A file system failed, here or there, or one side does not understand the other. The
  /// connection may be good again long before that is: it is said once, and tried ever more
  /// seldom, until such a request has succeeded, or everything is done.
  void fail_for_longer(const std::string& why, std::optional<proto::Kind> request);
  void begin_anew(const std::string& why, Backoff& backoff, std::string& said);
  /// Its next use reads the tree anew.
  void forget_engine();
  void say_what_is_copied();
  void say_what_is_waited_for();
  void try_again();
  void retry_after(std::chrono::milliseconds delay);
  [[nodiscard]] std::string target(const std::string& what) const;

  MainLoop& loop_;
  Random& random_;
  KernelReplica& replica_;
  http::Client& http_;
  std::string fileset_;
  std::function<void()> followed_;
  Backoff backoff_{{}};
  Backoff longer_{{}};
  std::unique_ptr<repl::Client> engine_;  // null: its next use reads the tree anew
  std::shared_ptr<Exchange> pull_;
  std::shared_ptr<Exchange> other_;
  std::unique_ptr<Pushing> pushing_;
  std::map<std::uint64_t, Upload> uploads_;                   // by the record's number
  std::map<std::pair<kml::Fid, std::uint64_t>, Part> begun_;  // by items of a Fetch
  MainLoop::Handle retry_;                                    // active: nothing is tried before
  MainLoop::Handle again_;
  bool connected_ = false;
  bool stepping_ = false;
  std::string failed_;   // the last failure that was said; empty: the last try succeeded
  std::string trouble_;  // the same of those for longer, and what was asked for
  std::optional<proto::Kind> troubled_;
  std::string waiting_;                       // what was said to be waited for
  std::optional<std::size_t> copied_tenths_;  // of the server's tree, as was said
};

}  // namespace izo::daemon
