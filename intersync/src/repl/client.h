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
#include <span>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "repl/attributes.h"
#include "repl/bootstrap.h"
#include "repl/losses.h"
#include "repl/messages.h"
#include "repl/own_log.h"
#include "repl/times.h"
#include "repl/translate.h"
#include "repl/tree.h"

namespace izo::repl {

class Client {
 public:
  /// `replica` must live longer. `on_losses` gets what of the server's records is not made here.
  explicit Client(Replica& replica, OnLosses on_losses = {});

  /// Applies what can be applied, and says what to ask the server next. At most one Pull and one
  /// other request are under way. Nullopt: nothing now; ask again after an answer, or when our log
  /// grew. Throws izo::Error if the file system fails.
  std::optional<Request> next();

  /// The answer to a request that next() gave. Throws Error for one that breaks the protocol.
  void on(const Request& request, Response response);
  /// A second has passed in which something waited: what could not be had is asked for again, ever
  /// more seldom.
  void try_again();
  /// A request got no answer: begins again with Hello.
  void on_failure();

  /// Why something waits, for people; empty: nothing does.
  [[nodiscard]] const std::string& waiting() const {
    const bool ours_first = waiting_ == kOursFirst;
    return ours_first                                     ? why_ours_wait()
           : !waiting_.empty()                            ? waiting_
           : bootstrap_ && !bootstrap_->waiting().empty() ? bootstrap_->waiting()
           : !copy_lacks_.empty()                         ? copy_lacks_
           : is_not_given_                                ? kNotGiven
           : is_unread_                                   ? kUnread
           : uneven_                                      ? uneven_why_
           : !times_wait_.empty()                         ? times_wait_
           : stopped_.empty() && is_hopeless_             ? kHopeless
                                                          : stopped_;
  }
  /// Are there records of ours that the server has not accepted, or of the server's that are not
  /// applied?
  [[nodiscard]] bool is_behind() const {
    return !connected_ || !pending_.empty() || !queue_.empty() || pulled_something_ || differs_ ||
           digest_.has_value() || partial_;
  }
  /// Of a copy of the server's tree: names made, and of how many, 0 if that is not known yet;
  /// nullopt: none is being made.
  [[nodiscard]] std::optional<std::pair<std::size_t, std::size_t>> copied() const {
    return bootstrap_ ? std::optional(bootstrap_->progress())
           : partial_ ? std::optional(std::pair<std::size_t, std::size_t>())
                      : std::nullopt;
  }
  [[nodiscard]] const Index& index() const { return tree_.index(); }

 private:
  struct Server {
    Uuid replica{};
    std::uint64_t epoch = 0;
    Translation translation;
  };
  static inline const std::string kNotGiven = "a file cannot be read on the server yet";
  /// If theirs wait for ours, what those wait for says more.
  [[nodiscard]] const std::string& why_ours_wait() const {
    return is_unread_ ? kUnread : stopped_.empty() ? kOursFirst : stopped_;
  }
  static inline const std::string kOursFirst = "changes of this replica go to the server first";
  static inline const std::string kUnread = "a file cannot be read here yet";
  static inline const std::string kHopeless =
      "not all names are as on the server, and cannot be made so here";

  /// How many calls of try_again() something waits: twice as many each time.
  class Patience {
   public:
    /// One more call. Returns whether it is time.
    bool is_over();
    void reset() { *this = {}; }

   private:
    unsigned waited_ = 0;
    unsigned limit_ = 1;
  };

  void on_own(const Record& record);
  /// How far the server's log is applied here.
  Received received();
  /// Goes on with the copy of the server's tree; what to ask for it.
  std::optional<Request> copy();
  void begin_copy(const Listed& listed, Bootstrap::Looks looks);
  void end_copy();
  void on_described(const Described& described);
  void learn_table(const std::vector<Uuid>& table);
  /// Does an object of ours come from elsewhere?
  [[nodiscard]] bool has_others_objects() const;
  void apply_queue();
  /// The outcomes of these, the first of the queue, are stored.
  void on_stored(std::span<const Record> records, const std::set<std::uint64_t>& inexact);
  void settle();
  /// Is all of the server's applied here, all of ours there, and the index the tree?
  bool is_even();
  void compare(const List& list, const Listed& listed);
  void make_even(const std::map<Name, Fid>& theirs, const std::set<Fid>& there);
  bool give_name(const Name& name, const Fid& fid,
                 const std::function<bool(const Name&, const Fid&)>& is_right);
  std::optional<Request> ask();
  std::optional<Request> fetch_or_push();
  std::optional<Request> fetch();
  std::optional<Request> push();
  /// Sets times of directories that are not as the server's log says. False: not now.
  bool settle_times();
  Tree::Decision decide(const Record& record);
  std::variant<Record, Passed, First> fit_to_part(Record record);
  Tree::Decision decide_echo(const Record& record);
  void accept(const Received& accepted);
  /// The server's log up to where it is applied here has our records up to `recno`.
  void forget_echoed(std::uint64_t recno);
  void on_welcome(const Welcome& welcome);
  void on_pulled(const Pulled& pulled);
  void on_fetched(const Fetch& fetch, const Fetched& fetched);

  Replica& replica_;
  OnLosses on_losses_;
  Losses losses_;
  bool is_beginning_ = true;  // what an engine before this one applied is not known
  bool connected_ = false;
  bool pulling_ = false;
  bool asking_ = false;
  bool first_pull_ = false;  // the next Pull goes on from what is applied
  bool partial_ = false;     // not all of the server's tree is here
  bool copy_waits_ = false;  // for try_again(): not all could be had
  Bootstrap::Looks copy_looks_ = Bootstrap::Looks::kAtAll;  // the next one
  bool unsealed_ = false;   // flags of what is here were left out since one looked at all
  std::string copy_lacks_;  // why, until all is here
  Patience copy_patience_;
  bool copy_asks_ = false;     // what is asked besides Pull is for the copy
  bool copy_is_next_ = false;  // it did not have the last turn
  std::uint64_t repairs_ = 0;
  bool differs_ = false;     // the server's names are not ours
  bool push_waits_ = false;  // the last Push got nothing accepted, or there was none to make
  Patience push_patience_;
  bool is_unread_ = false;     // there was none, as a body of ours could not be read
  bool fetch_waits_ = false;   // for try_again(): the last Fetch got no body
  bool is_not_given_ = false;  // the same, until one does
  Patience fetch_patience_;
  bool uneven_ = false;  // for try_again(): not all names could be made even yet
  std::string uneven_why_;
  Patience uneven_patience_;
  /// Digests, the server's and ours, that asking for the names did not bring together.
  std::optional<std::pair<std::uint64_t, std::uint64_t>> hopeless_;
  bool is_hopeless_ = false;  // they were these when they were compared last
  /// Those for which what was not here was copied.
  std::optional<std::pair<std::uint64_t, std::uint64_t>> copied_for_;
  std::optional<std::uint64_t> digest_;  // of the server's names at next_, not compared yet
  std::uint64_t their_digest_ = 0;
  bool pulled_something_ = true;  // the last Pull gave records, so there may be more
  Server server_;
  Received accepted_;         // of our log, by the server
  std::uint64_t next_ = 0;    // offset in the server's log
  std::deque<Record> queue_;  // the server's records, translated, not applied yet
  std::map<std::uint64_t, std::shared_ptr<Body>> bodies_;  // by the server's record number
  OwnLog own_log_;
  std::deque<Record> pending_;  // ours, not accepted yet
  History pending_history_;
  std::map<std::uint64_t, Name> sent_names_;  // of ours whose echo has not come: the name made
  Moves moves_;                               // by records of ours whose echo has not come
  OwnAttributes own_attributes_;
  Times times_;             // of what has not come back or was not settled yet
  std::string times_wait_;  // why those that are known could not be set
  std::string waiting_;
  std::string stopped_;  // why the server did not accept all of the last Push
  History own_;          // since the server's names were asked for, in a copy
  /// The copy is whole; records of ours up to this one may have been made without all that is
  /// there.
  std::optional<std::uint64_t> whole_behind_;
  std::unordered_set<Fid> cannot_have_;
  std::uint64_t hold_ = UINT64_MAX;  // later records of the server's wait for the copy
  Tree tree_;
  std::unique_ptr<Bootstrap> bootstrap_;  // the copy, once the server's names are known
};

}  // namespace izo::repl
