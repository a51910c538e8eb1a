// SPDX-License-Identifier: GPL-2.0
// What server and client have in common: a replica with its index, kept up with its log, and the
// application of a peer's records with what does not fit made to.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "repl/access.h"
#include "repl/adapt.h"
#include "repl/index.h"
#include "repl/replica.h"

namespace izo::repl {

/// Something that cannot be now; nothing is wrong. One line.
struct Blocked {
  std::string why;
  bool is_full = false;  ///< Nothing else can be either, now.

  /// The file system takes nothing now.
  static Blocked by_full(const std::string& why) {
    return {.why = "the file system cannot take it now: " + why, .is_full = true};
  }
};

/// Something must be done first, outside of any batch.
struct First {
  std::function<bool()> action;  ///< Returns whether it could be done. Empty: it is.
  std::optional<Passed> then;    ///< Pass the record if it was; else it is decided anew.
};

/// What becomes of a directory that is removed elsewhere, if it is not empty here.
enum class NotEmpty {
  kIsEmptied,  ///< What is in it gets names in the root.
  kStays,      ///< Who removed it may not have had what is in it.
};

class Tree {
 public:
  using OnRecord = std::function<void(const Record&)>;

  /// Walks the replica's tree, then reads its log. `on_record` gets all records of our log: when
  /// they are read, but for those applied for a peer by this tree, which come when they are
  /// applied. `replica` must live longer.
  Tree(Replica& replica, Yields yields, OnRecord on_record);

  [[nodiscard]] const Index& index() const { return index_; }
  [[nodiscard]] std::uint16_t self() const { return self_; }

  /// Gives the index the replicas that became known since.
  void know_replicas();
  /// Does the index have all that was done here, on the medium or not?
  [[nodiscard]] bool is_current() { return unseen_.empty() && replica_.state().end == read_; }
  /// The offset in our log up to which the index has it.
  [[nodiscard]] std::uint64_t offset() const { return read_; }
  /// The number of the last record before that offset.
  [[nodiscard]] std::uint64_t recno() const { return recno_; }

  /// Reads what is new in our log on the medium. Returns whether there was any.
  bool catch_up();
  /// The same, with what is not on the medium yet.
  bool catch_up_all();
  /// The same, until the index is the tree as it was at offset(), and all of that is on the medium.
  /// False: directories move too fast.
  bool catch_up_exactly();

  /// A file's body, whole. Null: it is gone or being changed, and our log says so or will. Nullopt:
  /// not now, as its names change all the time.
  std::optional<std::shared_ptr<Body>> read_body(const Fid& fid);

  /// What is to become of a record of a peer's: an operation, why it is passed, why it has to wait,
  /// or what must be done first. Asked of one after the other, each with the index as the ones
  /// before leave it; and with why it is to be passed, if it was tried before and that came out.
  using Decision = std::variant<Operation, Passed, Blocked, First>;
  using Decide = std::function<Decision(const Record&, std::optional<Passed>)>;

  struct Progress {
    std::size_t stored = 0;  ///< Records whose outcome is stored.
    std::string blocked;     ///< Why the next one is not; empty: all are.
    bool is_full = false;    ///< Others would not be either: the file system takes nothing now.
    /// Numbers of those that were applied, but without what the file system did not take of them.
    std::set<std::uint64_t> inexact;
  };

  /// Applies records of a peer's as `decide` says.
  Progress apply(const Uuid& peer, std::uint64_t epoch, Batch::Kind kind,
                 std::span<const Record> records, const Decide& decide,
                 NotEmpty not_empty = NotEmpty::kIsEmptied);

  /// adapt(), and then what the engine's sides decide alike: what to do first, or why it is passed.
  [[nodiscard]] std::variant<Record, Passed, First> fit(const Record& record, const Moves& moves);

  /// Does what adapt() wants to be done first; false: not now.
  bool repair(const Repair& repair);

  /// Keeps a body as a copy beside `wanted`, or in the root if that directory is not here or takes
  /// none. The same body is not kept twice for one object and number. False: not now.
  bool keep_copy(const Name& wanted, const Fid& fid, std::uint64_t number, const Body& body);

  /// A name for something that has to give way: beside that name, or in the root.
  [[nodiscard]] Name name_for_loser(const Name& wanted, const Fid& fid, std::uint64_t number) const;

 private:
  struct Attempt;
  struct Turn;
  void read_all();
  void walk_unseen();
  /// Records from `index_from` on change the index.
  bool read_log(std::uint64_t index_from);
  void look_for_unseen(const Record& record);
  void learn(const Record& record, bool index);
  /// catch_up_all(); was any of it about an object or a name that `record` is about?
  bool catch_up_about(const Record& record);
  bool clear_directory(const Fid& dir);
  Attempt try_batch(Batch& batch, std::span<const Record> records, std::optional<Passed> pass,
                    const Decide& decide);
  std::vector<Result> submit(const Batch& batch);
  void settle(const Batch& batch, const std::vector<Result>& results,
              const std::vector<std::size_t>& marks);
  /// Counts what of a batch is stored; what is to become of the record behind that, if anything.
  std::optional<Decision> submit_and_settle(const Batch& batch, Attempt attempt, Progress& progress,
                                            Turn& turn);
  /// Does what a decision about the record that is next wants, unless it was decided behind a
  /// batch. Returns why the record has to wait.
  std::optional<Blocked> take_turn(const Decision& decision, bool is_of_its_own,
                                   const Record& record, Turn& turn);
  /// What to do with a record that does not fit however often it is tried; false: only wait.
  bool give_way(const Record& record, std::optional<Passed>& pass);
  Decision refuse(const Operation& operation);
  Decision resolve(const Operation& operation, const Result& result, Turn& turn);

  Replica& replica_;
  Yields yields_;
  OnRecord on_record_;
  Index index_;
  std::uint16_t self_ = 0;
  NotEmpty not_empty_ = NotEmpty::kIsEmptied;
  bool gives_way_ = false;  // the record that is next makes an object, and yields
  std::set<Fid> unseen_;    // directories in which there may be what the walk has not seen
  bool walked_ = false;     // the index may have what is not on the medium
  std::size_t known_ = 0;   // replicas in the index
  std::uint64_t read_ = 0;  // offset of our log up to which the index has it
  std::uint64_t recno_ = 0;
  std::optional<Record> about_;  // for catch_up_about(), while it reads
  bool any_about_ = false;
};

}  // namespace izo::repl
