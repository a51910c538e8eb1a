// SPDX-License-Identifier: GPL-2.0
// The server's decisions: it gives out its log and bodies, and applies what clients push. Where a
// client's change conflicts, the server's version stays and the client's is kept as a copy.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <span>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "repl/losses.h"
#include "repl/messages.h"
#include "repl/translate.h"
#include "repl/tree.h"

namespace izo::repl {

class Server {
 public:
  /// `replica` must live longer. `on_losses` gets, of each Push, what of it is not made here.
  explicit Server(Replica& replica, OnLosses on_losses = {});

  /// Answers a request. Throws izo::Error if the file system fails.
  Response answer(const Request& request);

  [[nodiscard]] const Index& index() const { return tree_.index(); }

 private:
  Response answer_one(const Hello& hello);
  Response answer_one(const Pull& pull);
  Response answer_one(const List& list);
  Response answer_one(const Fetch& fetch);
  Response answer_one(const Push& push);
  Response answer_one(const Describe& describe);

  struct Taken;
  /// Of a Push, what is to be applied, or the answer at once.
  std::variant<Taken, Response> take(const Push& push, const Received& had);
  /// The outcomes of these records are stored.
  void settle(std::span<const Record> stored, const std::set<std::uint64_t>& inexact);

  /// What an object is; nullopt: it is gone, or, still in the index, not found now.
  std::optional<Portrait> portrait(const Fid& fid);

  /// Is that the end of our log, and the index the tree there?
  bool is_end(std::uint64_t offset);
  /// The last record of that origin's log that ours has up to record `recno`; 0: none.
  [[nodiscard]] std::uint64_t echoed(std::uint16_t origin, std::uint64_t recno) const;

  /// A record about names that is passed leaves one in our log all the same, which gives the root
  /// the time that it has: so its maker, and a server that was restarted, know from the log which
  /// of the client's names the server had heard of when. One that gave an object a time leaves one
  /// with the time that the object has, and one about its attributes with those.
  [[nodiscard]] Tree::Decision acknowledged(const Record& record, Tree::Decision decision);
  /// Directories that a record touched on the client, but not here, where it is applied as `here`
  /// or passed (null), may have other times there: both get the newer one, before the record's
  /// outcome is stored, as the client does not send it again.
  std::optional<First> even_directories(const Record& record, const Record* here);

  Tree::Decision decide(const Record& record, const std::shared_ptr<Body>& body);
  Tree::Decision decide_close(const Record& record, const std::shared_ptr<Body>& body);
  Tree::Decision decide_attributes(const Record& record);
  std::optional<Tree::Decision> before_removal(const Record& record);
  [[nodiscard]] bool written_since(const Record& record, const Key& key) const;

  Replica& replica_;
  OnLosses on_losses_;
  Losses losses_;
  History history_;
  /// Bodies that were kept before a record of this Push removes their files: the record, and the
  /// body's last CLOSE.
  std::set<std::pair<std::uint64_t, std::uint64_t>> copied_;
  Moves moves_;
  std::unordered_map<std::uint64_t, unsigned> passed_;  // how often, each record of this Push
  kml::Time root_time_;  // that records of this Push give the root, decided so far
  /// How often a record that is not stored yet made a directory even.
  std::map<std::pair<std::uint64_t, Fid>, unsigned> evened_;
  /// For each origin: numbers of its records in our log, and in its own.
  std::map<std::uint16_t, std::map<std::uint64_t, std::uint64_t>> origins_;
  /// For each origin: its last record in our log, by its number there, and when that was made.
  std::map<std::uint16_t, std::pair<std::uint64_t, std::uint64_t>> known_;
  Tree tree_;
};

}  // namespace izo::repl
