// SPDX-License-Identifier: GPL-2.0
// How a client gets what is in the server's tree, but not in the part of the server's log that it
// follows: all of the tree, when it begins. It makes what is missing from the server's names at one
// offset of that log, and from what each object is then or later (the SML). The log tells the rest.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "repl/attributes.h"
#include "repl/messages.h"
#include "repl/tree.h"

namespace izo::repl {

class Bootstrap {
 public:
  /// A name of the server's tree.
  struct Entry {
    Name name;   ///< With our indices.
    Fid fid;     ///< Likewise.
    Fid theirs;  ///< With the server's.
  };

  /// What this replica did itself, and cannot have. Live longer.
  struct Own {
    const History& done;  ///< That of which the server's names may know nothing.
    const Moves& moves;
    const OwnAttributes& attributes;
    /// The server's objects that cannot be here: of class local, or refused by the cache, and what
    /// is in them.
    std::unordered_set<Fid>& cannot_have;
  };

  enum class Looks {
    kAtAll,      ///< What is here already may lack something too.
    kAtMissing,  ///< It does not.
  };

  /// `at`: of what position of the server's log the names are. `replica` and `tree` live longer.
  Bootstrap(Replica& replica, Tree& tree, Own own, const Uuid& server, const Received& at,
            std::vector<Entry> entries, Looks looks);

  /// Applies what can be applied; what to ask next, again if it was asked and got no answer.
  /// Nullopt: it is done, or has to wait. `applied`: number of the last record of the server's log
  /// that is applied here, not before `at`. Throws Error if the file system fails.
  std::optional<Request> next(std::uint64_t applied);
  /// The answers, with our indices. `at`: where the server's log ended when it had described them.
  /// Throw Error for one that breaks the protocol.
  void on_described(const Received& at, const std::vector<Fid>& gone, std::vector<Record> records);
  /// False: those that did not come are left for another time.
  bool on_fetched(const Fetch& fetch, const Fetched& fetched);
  /// A record of the server's log was applied or passed.
  void came(const Record& record);

  /// All is applied, and the server's log up to where the last object was described.
  [[nodiscard]] bool is_done() const {
    return !makes_ && late_.empty() && seals_.empty() && applied_ >= described_;
  }
  /// Is nothing left that could not be had? Once it is done.
  [[nodiscard]] bool is_whole() const {
    return again_.empty() && misses_.empty() && unread_.empty();
  }
  [[nodiscard]] Looks looks() const { return looks_; }
  /// How another one has to look for that, once this is done.
  [[nodiscard]] Looks next_looks() const { return next_looks_; }
  /// What is left, an example, for people.
  [[nodiscard]] std::string lacks() const;
  /// Are names still to be made?
  [[nodiscard]] bool makes() const { return makes_; }
  /// Records of the server's log with higher numbers have to wait.
  [[nodiscard]] std::uint64_t limit() const;
  [[nodiscard]] const Received& at() const { return at_; }
  [[nodiscard]] const Uuid& server() const { return server_; }
  /// Why it has to wait; empty: it does not.
  [[nodiscard]] const std::string& waiting() const { return waiting_; }
  /// Names that were looked at, and of how many.
  [[nodiscard]] std::pair<std::size_t, std::size_t> progress() const {
    return {is_first_round_ ? next_item_ : names_, names_};
  }

 private:
  struct Item {
    Entry entry;
    bool first = false;  ///< Of the object's names.
  };
  /// A flag that keeps its object from being changed: set once the server's log has been applied up
  /// to where the object was described, or earlier records could not be.
  struct Seal {
    std::uint64_t due = 0;
    Record record;
  };
  /// A body whose file is in use here, and a flag that is due when it is there.
  struct Late {
    Record record;
    std::shared_ptr<Body> body;
    std::optional<Record> seal;
  };

  void put_in_order(std::vector<Entry> entries);
  [[nodiscard]] bool is_to_be_asked_for(const Item& item) const;
  [[nodiscard]] bool is_here(const Fid& fid) const;
  [[nodiscard]] Describe describe() const;
  [[nodiscard]] std::optional<Fetch> fetch() const;
  void begin_round();
  void leave_out(const Fetch& fetch);
  void unseal_around_unread();
  void add_link(const Entry& entry);
  void add_object(const Entry& entry, std::vector<Record>& records, std::uint64_t due);
  [[nodiscard]] bool needs_body(const Fid& fid);
  [[nodiscard]] bool was_written_here(const Key& key) const;
  bool apply();
  void finish();
  void install_late();
  bool apply_seal(const Record& seal);
  Tree::Progress apply_to_tree(std::span<const Record> records);
  Tree::Decision decide(const Record& record);
  Tree::Decision decide_body(const Record& record);

  Replica& replica_;
  Tree& tree_;
  Own own_;
  Uuid server_;
  Received at_;
  Looks looks_;
  bool makes_ = true;
  std::string misses_;       // a name whose directory is not here
  std::vector<Item> items_;  // of this round, directories before what is in them
  std::vector<Item> again_;  // not found just then: for another round
  /// Those whose body could not be had; by their first name, others of the same file behind it.
  std::vector<Item> unread_;
  std::unordered_set<Fid> is_unread_;
  unsigned refusals_ = 0;  // answers in a row with none of the bodies that were asked for
  Looks next_looks_ = Looks::kAtAll;
  std::size_t names_ = 0;
  std::size_t next_item_ = 0;  // items before are made,
  std::size_t end_ = 0;        // and those before this are described
  bool is_first_round_ = true;
  unsigned fruitless_ = 0;       // rounds that found nothing
  std::uint64_t described_ = 0;  // the server's last record by then
  std::uint64_t applied_ = 0;    // and that which is applied here
  std::vector<Record> records_;  // of these, not applied yet
  std::deque<Seal> seals_;       // by where they are due
  std::deque<Late> late_;
  /// Bodies of files that are described; null: none is needed.
  std::unordered_map<Fid, std::shared_ptr<Body>> bodies_;
  std::string waiting_;
};

}  // namespace izo::repl
