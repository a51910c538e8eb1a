// SPDX-License-Identifier: GPL-2.0
// The client's decisions: it pulls the server's log and bodies, applies them, and pushes its own
// records. Its own changes go first where both sides changed one thing, so that the server decides.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "repl/messages.h"
#include "repl/times.h"
#include "repl/translate.h"
#include "repl/tree.h"

namespace izo::repl {

class Client {
 public:
  /// `replica` must live longer.
  explicit Client(Replica& replica);

  /// Applies what can be applied, and says what to ask the server next. At most one Pull and one
  /// other request are under way. Nullopt: nothing now; ask again after an answer, or when our log
  /// grew. Throws izo::Error if the file system fails.
  std::optional<Request> next();

  /// The answer to a request that next() gave. Throws Error for one that breaks the protocol.
  void on(const Request& request, Response response);
  /// A request got no answer: begins again with Hello.
  void on_failure();

  /// Why something waits, for people; empty: nothing does.
  [[nodiscard]] const std::string& waiting() const {
    return waiting_.empty() ? stopped_ : waiting_;
  }
  /// Are there records of ours that the server has not accepted, or of the server's that are not
  /// applied?
  [[nodiscard]] bool is_behind() const {
    return !connected_ || !pending_.empty() || !queue_.empty() || pulled_something_ || differs_ ||
           digest_.has_value();
  }
  [[nodiscard]] const Index& index() const { return tree_.index(); }

 private:
  struct Server {
    Uuid replica{};
    std::uint64_t epoch = 0;
    Translation translation;
  };

  void on_own(const Record& record);
  void apply_queue();
  void settle();
  /// Is all of the server's applied here, all of ours there, and the index the tree?
  bool is_even();
  void compare(const List& list, const Listed& listed);
  void make_even(const std::map<Name, Fid>& theirs, const std::set<Fid>& there);
  bool give_name(const Name& name, const Fid& fid,
                 const std::function<bool(const Name&, const Fid&)>& is_right);
  std::optional<Request> fetch();
  std::optional<Request> push();
  /// Sets times of directories that are not as the server's log says.
  void settle_times();
  Tree::Decision decide(const Record& record);
  Tree::Decision decide_echo(const Record& record);
  void accept(const Received& accepted);
  /// The server's log up to where it is applied here has our records up to `recno`.
  void forget_echoed(std::uint64_t recno);
  void on_welcome(const Welcome& welcome);
  void on_pulled(const Pulled& pulled);
  void on_fetched(const Fetch& fetch, const Fetched& fetched);

  Replica& replica_;
  bool connected_ = false;
  bool pulling_ = false;
  bool asking_ = false;
  bool first_pull_ = false;  // the next Pull goes on from what is applied
  std::uint64_t repairs_ = 0;
  bool differs_ = false;     // the server's names are not ours
  bool push_waits_ = false;  // the last Push got nothing accepted
  /// Digests, the server's and ours, that asking for the names did not bring together.
  std::optional<std::pair<std::uint64_t, std::uint64_t>> hopeless_;
  std::optional<std::uint64_t> digest_;  // of the server's names at next_, not compared yet
  std::uint64_t their_digest_ = 0;
  bool pulled_something_ = true;  // the last Pull gave records, so there may be more
  Server server_;
  Received accepted_;         // of our log, by the server
  std::uint64_t next_ = 0;    // offset in the server's log
  std::deque<Record> queue_;  // the server's records, translated, not applied yet
  std::map<std::uint64_t, std::shared_ptr<Body>> bodies_;  // by the server's record number
  std::deque<Record> pending_;                             // ours, not accepted yet
  History pending_history_;
  std::map<std::uint64_t, Name> sent_names_;  // of ours whose echo has not come: the name made
  Moves moves_;                               // by records of ours whose echo has not come
  Times times_;                               // of what has not come back or was not settled yet
  std::string waiting_;
  std::string stopped_;  // why the server did not accept all of the last Push
  Tree tree_;
};

}  // namespace izo::repl
