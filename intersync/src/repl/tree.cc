// SPDX-License-Identifier: GPL-2.0
#include "repl/tree.h"

#include <linux/intermezzo_reint.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "repl/conflict_name.h"

namespace izo::repl {

using kml::kRootFid;
using kml::Op;

namespace {

/// Records in one batch, and about how many bytes its operations take.
constexpr std::size_t kBatch = 256;
constexpr std::size_t kBatchBytes = std::size_t{2} << 20;
/// What the kernel is told of an operation besides its record, and of each name, at most.
constexpr std::size_t kOperationBytes = 2048;
constexpr std::size_t kNameBytes = 300;
/// How often a record is decided anew before it is passed; the digests tell if that was wrong.
constexpr unsigned kTries = 8;
/// How often directories are walked again that moved away meanwhile.
constexpr unsigned kRounds = 200;
/// And how many changes of our own it may take to make it fit.
constexpr unsigned kChanges = 1000;

const char* const kBeingChanged = "a file is being changed here";

/// A number for the name of a copy that no other name of the object is made with.
constexpr std::uint64_t kCopyOfDropped = std::uint64_t{1} << 63;

/// The object that an operation makes, or gives a new inode.
std::optional<Fid> made_by(const Record& record) {
  if (record.whiteout) {
    return record.whiteout->fid;
  }
  switch (record.op) {
    case Op::kCreate:
    case Op::kMkdir:
    case Op::kMknod:
    case Op::kSymlink:
    case Op::kClose:
      return record.object;
    default:
      return std::nullopt;
  }
}

/// Are both about one object, one name, or one about a directory in which the other has a name?
bool meet(const Record& one, const Record& other) {
  const auto fids = [](const Record& record) {
    return std::array{std::optional(record.object),
                      record.replaced ? std::optional(record.replaced->fid) : std::nullopt,
                      record.whiteout ? std::optional(record.whiteout->fid) : std::nullopt};
  };
  const auto is_about = [&](const Record& record, const Fid& fid) {
    const auto of = fids(record);
    return std::find(of.begin(), of.end(), fid) != of.end();
  };
  for (const std::optional<Fid>& fid : fids(one)) {
    if (fid && is_about(other, *fid)) {
      return true;
    }
  }
  for (const std::optional<kml::Place>& mine : {one.place, one.to}) {
    for (const std::optional<kml::Place>& theirs : {other.place, other.to}) {
      if ((mine && is_about(other, mine->dir)) || (theirs && is_about(one, theirs->dir)) ||
          (mine && theirs && mine->dir == theirs->dir && mine->name == theirs->name)) {
        return true;
      }
    }
  }
  return false;
}

}  // namespace

Tree::Tree(Replica& replica, Yields yields, OnRecord on_record)
    : replica_(replica), yields_(yields), on_record_(std::move(on_record)) {
  replica_.use(index_);
  read_all();
}

void Tree::read_all() {
  replica_.commit();
  const Replica::State state = replica_.state();
  self_ = state.self;
  know_replicas();
  read_ = state.first;
  recno_ = std::max<std::uint64_t>(state.first_recno, 1) - 1;
  unseen_ = {kRootFid};
  for (unsigned rounds = 0; !unseen_.empty(); rounds++) {
    if (rounds == kRounds) {
      throw Error("the tree changes too fast to be read");
    }
    walk_unseen();
    // What came after the first walk began may be in it or not; and what moved away meanwhile from
    // where the walk was to come, the log has.
    replica_.commit();
    read_log(state.end);
  }
}

void Tree::walk_unseen() {
  for (const Fid& dir : std::exchange(unseen_, {})) {
    walked_ = true;
    if (!index_.has_directory(dir)) {
      continue;
    }
    for (const Fid& lost : replica_.walk(dir, [this](const Found& found) { index_.add(found); })) {
      unseen_.insert(lost);
    }
  }
}

bool Tree::read_log(std::uint64_t index_from) {
  bool any = false;
  for (;;) {
    const Replica::Records got = replica_.read(read_);
    if (got.records.empty()) {
      return any;
    }
    for (const Record& record : got.records) {
      learn(record, record.offset >= index_from);
      any = true;
    }
    read_ = got.next;
  }
}

void Tree::know_replicas() {
  const std::vector<Uuid> table = replica_.state().table;
  for (; known_ < table.size(); known_++) {
    index_.know(static_cast<std::uint16_t>(known_ + 1), table[known_]);
  }
}

void Tree::learn(const Record& record, bool index) {
  recno_ = record.recno;
  any_about_ = any_about_ || (about_ && meet(record, *about_));
  if (index && record.origin == self_) {
    look_for_unseen(record);
    index_.apply(record, std::nullopt);
  }
  if (!index || record.origin == self_) {
    on_record_(record);
  }
}

/// What moved from where the walk had not been to where it had been was not seen.
void Tree::look_for_unseen(const Record& record) {
  if (record.op == Op::kLink && index_.find(record.object) == nullptr) {
    unseen_.insert(record.place->dir);
  } else if (record.op == Op::kRename) {
    if (index_.find(record.object) == nullptr) {
      unseen_.insert(record.to->dir);
    }
    if ((record.flags & IZO_KML_EXCHANGE) != 0 && record.replaced &&
        index_.find(record.replaced->fid) == nullptr) {
      unseen_.insert(record.place->dir);
    }
  }
}

bool Tree::catch_up() {
  bool any = read_log(0);
  for (unsigned rounds = 0; !unseen_.empty() && rounds < kRounds; rounds++) {
    walk_unseen();
    // As in read_all(): an object that the index lacks would be taken for one that has gone.
    replica_.commit();
    any = read_log(0) || any;
  }
  return any;
}

bool Tree::catch_up_all() {
  replica_.commit();
  return catch_up();
}

bool Tree::catch_up_about(const Record& record) {
  about_ = record;
  any_about_ = false;
  catch_up_all();
  about_.reset();
  return any_about_;
}

bool Tree::catch_up_exactly() {
  for (unsigned rounds = 0; rounds < kRounds; rounds++) {
    walked_ = false;
    catch_up_all();
    if (!walked_ && unseen_.empty()) {
      return true;
    }
  }
  return false;
}

std::optional<std::shared_ptr<Body>> Tree::read_body(const Fid& fid) {
  bool changing = false;
  for (unsigned tries = 0; tries < 10; tries++) {
    const Object* object = index_.find(fid);
    if (object == nullptr || !S_ISREG(object->type)) {
      return nullptr;
    }
    const bool was_changing = std::exchange(changing, false);
    for (const Name& name : object->names) {
      Replica::Reading reading = replica_.read_body(name, object->handle);
      if (reading.body) {
        return std::move(reading.body);
      }
      if (reading.not_now) {
        return std::nullopt;
      }
      changing = changing || reading.changing;
    }
    if (changing && was_changing) {
      return nullptr;
    }
    // It has other names now; or it is being changed, which a power cut must not take back: then
    // nothing would say so later.
    catch_up_all();
  }
  return std::nullopt;
}

/// What became of one batch.
struct Tree::Attempt {
  std::vector<std::size_t> marks;  ///< Of the index, before each operation.
  std::optional<Decision> next;    ///< Of the record behind the batch, if that ended it.
};

Tree::Attempt Tree::try_batch(Batch& batch, std::span<const Record> records,
                              std::optional<Passed> pass, const Decide& decide) {
  Attempt out;
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < records.size(); i++) {
    const Record& record = records[i];
    const bool is_body_of_last = i != 0 && record.op == Op::kClose &&
                                 records[i - 1].op == Op::kCreate &&
                                 records[i - 1].object == record.object;
    if ((i >= kBatch || bytes > kBatchBytes) && !is_body_of_last) {
      break;
    }
    Decision decision = decide(record, std::exchange(pass, std::nullopt));
    Operation operation{.record = record,
                        .skip = {},
                        .object = {},
                        .dir = {},
                        .to = {},
                        .replaced = {},
                        .body = {},
                        .names = {}};
    if (auto* apply = std::get_if<Operation>(&decision)) {
      if (apply->names.size() > IZO_REINT_NAMES_MAX) {
        out.next = refuse(*apply);
        break;
      }
      operation = std::move(*apply);
    } else if (const auto* passed = std::get_if<Passed>(&decision)) {
      operation.skip = *passed;
    } else {
      out.next = std::move(decision);
      break;
    }
    bytes += kOperationBytes + record.length + operation.names.size() * kNameBytes;
    out.marks.push_back(index_.mark());
    if (!operation.skip) {
      const auto number = static_cast<std::uint32_t>(batch.operations.size());
      index_.apply(operation.record,
                   made_by(operation.record)
                       ? std::optional(Handle{.ino = 0, .generation = 0, .result = number})
                       : std::nullopt);
    }
    batch.operations.push_back(std::move(operation));
  }
  return out;
}

std::vector<Result> Tree::submit(const Batch& batch) {
  try {
    return replica_.apply(batch);
  } catch (...) {
    // The replica tells by its positions what was applied; whoever goes on reads the tree again.
    index_.roll_back(0);
    index_.end();
    throw;
  }
}

void Tree::settle(const Batch& batch, const std::vector<Result>& results,
                  const std::vector<std::size_t>& marks) {
  std::size_t stored = 0;
  while (stored < results.size() && results[stored].stored()) {
    stored++;
  }
  if (stored < marks.size()) {
    index_.roll_back(marks[stored]);
  }
  index_.end();
  for (std::size_t i = 0; i < stored; i++) {
    const Operation& operation = batch.operations[i];
    if (operation.skip) {
      continue;
    }
    const std::optional<Fid> fid = made_by(operation.record);
    if (fid && results[i].handle.ino != 0) {
      index_.set_handle(*fid, results[i].handle);
    }
    if (batch.kind == Batch::Kind::kForwarded) {
      Record record = operation.record;
      record.recno = results[i].recno;
      on_record_(record);
    }
  }
}

Tree::Decision Tree::refuse(const Operation& operation) {
  if (!operation.body || yields_ != Yields::kNewcomer) {
    return Passed::kRefused;
  }
  // The client has that body, and nobody else: it is not passed without a copy.
  return First{.action =
                   [this, body = operation.body, fid = operation.record.object,
                    number = kCopyOfDropped ^ operation.record.recno] {
                     const Object* object = index_.find(fid);
                     return object == nullptr ||
                            keep_copy(object->names.front(), fid, number, *body);
                   },
               .then = Passed::kRefused};
}

/// What apply() knows of the record that is next, until its outcome is stored.
struct Tree::Turn {
  std::optional<Passed> pass;
  unsigned tries = 0;
  unsigned changes = 0;
  unsigned changed = 0;  ///< How often it was not as it had been decided about.
  unsigned missed = 0;   ///< How often the kernel did not find what it names.
};

Tree::Decision Tree::resolve(const Operation& operation, const Result& result, Turn& turn) {
  switch (result.code) {
    case IZO_REINT_NOT_EMPTY: {
      if (not_empty_ == NotEmpty::kStays) {
        return Passed::kConflict;
      }
      const Fid dir = operation.record.op == Op::kRename ? operation.record.replaced->fid
                                                         : operation.record.object;
      return First{.action = [this, dir] { return clear_directory(dir); }, .then = {}};
    }
    case IZO_REINT_MOUNTED:
    case IZO_REINT_CLASS:
      return Passed::kNotHere;
    case IZO_REINT_REFUSED:
      return refuse(operation);
    case IZO_REINT_STOPPED:
      return Blocked::by_full(std::generic_category().message(-result.error));
    case IZO_REINT_BUSY:
      // Whatever else our log tells meanwhile, it is not what is waited for.
      return Blocked{kBeingChanged};
    case IZO_REINT_CHANGED: {
      // Whoever is far behind is told so of everything, so once more in any case. Then others may
      // write as much as they like: only what they write about it is a reason to ask again at once.
      const unsigned most = catch_up_about(operation.record) ? kTries : 1;
      if (turn.changed++ >= most) {
        return Blocked{kBeingChanged};
      }
      return First{};
    }
    case IZO_REINT_NEED_NAME:
      // Nobody had it in use: looked up, it is found. Or names have changed, and our log tells.
      if (turn.missed > kTries || (turn.missed != 0 && !catch_up_all())) {
        return Blocked{"the kernel does not find what the index has"};
      }
      turn.missed++;
      replica_.look_up(operation.record);
      return First{};
    case IZO_REINT_MISSING:
      if (operation.record.op == Op::kRemovexattr) {
        return Passed::kAlready;
      }
      [[fallthrough]];
    default:
      if (!catch_up_all()) {
        return Blocked{"the tree is not as its log says, code " + std::to_string(result.code)};
      }
  }
  return First{.action = [] { return true; }, .then = {}};
}

bool Tree::give_way(const Record& record, std::optional<Passed>& pass) {
  if (record.op == Op::kClose) {
    return false;
  }
  if (record.attr && record.op != Op::kRename && name_made(record)) {
    // Others will speak of the object: it gets another name.
    gives_way_ = true;
  } else {
    pass = Passed::kConflict;
  }
  return true;
}

std::optional<Tree::Decision> Tree::submit_and_settle(const Batch& batch, Attempt attempt,
                                                      Progress& progress, Turn& turn) {
  if (batch.operations.empty()) {
    index_.end();
    return std::move(attempt.next);
  }
  const std::vector<Result> results = submit(batch);
  settle(batch, results, attempt.marks);
  for (std::size_t i = 0; i < results.size(); i++) {
    if (!results[i].stored()) {
      return resolve(batch.operations[i], results[i], turn);
    }
    // What was tried was tried with this one.
    turn = {};
    gives_way_ = false;
    // A body's is about times of directories. Without memory it is only not known what was made.
    if (results[i].code == IZO_REINT_INEXACT && batch.operations[i].record.op != Op::kClose &&
        results[i].error != -static_cast<int>(std::errc::not_enough_memory)) {
      progress.inexact.insert(batch.operations[i].record.recno);
    }
    progress.stored++;
  }
  return std::move(attempt.next);
}

std::optional<Blocked> Tree::take_turn(const Decision& decision, bool is_of_its_own,
                                       const Record& record, Turn& turn) {
  if (const auto* blocked = std::get_if<Blocked>(&decision)) {
    return *blocked;
  }
  if (const auto* passed = std::get_if<Passed>(&decision)) {
    turn.pass = *passed;
  } else if (is_of_its_own) {
    const auto& todo = std::get<First>(decision);
    if (!todo.action) {
      turn.pass.reset();
      return std::nullopt;
    }
    bool done = false;
    try {
      done = todo.action();
    } catch (const Full& full) {
      return Blocked::by_full(full.what());
    }
    // What changes something may take as often as it likes, but not for ever. What cannot be done
    // changes nothing, whatever others do.
    turn.tries = catch_up_all() && done && ++turn.changes < kChanges ? 0 : turn.tries;
    turn.pass = done ? todo.then : std::nullopt;
    if (!done && turn.tries == kTries) {
      return Blocked{"what must be done first cannot be done now"};
    }
  }
  if (++turn.tries > kTries && !give_way(record, turn.pass)) {
    return Blocked{"a body does not fit, however often it is tried"};
  }
  return std::nullopt;
}

Tree::Progress Tree::apply(const Uuid& peer, std::uint64_t epoch, Batch::Kind kind,
                           std::span<const Record> records, const Decide& decide,
                           NotEmpty not_empty) {
  not_empty_ = not_empty;
  Progress progress;
  Turn turn;
  while (progress.stored < records.size()) {
    catch_up();
    Batch batch{.peer = peer, .epoch = epoch, .kind = kind, .decided = read_, .operations = {}};
    index_.begin();
    Attempt attempt = try_batch(batch, records.subspan(progress.stored), turn.pass, decide);
    const std::size_t before = progress.stored;
    const std::optional<Decision> next =
        submit_and_settle(batch, std::move(attempt), progress, turn);
    const std::size_t stored = progress.stored - before;
    if (!next) {
      continue;
    }
    // What was decided behind a batch is decided again: the batch may have changed it.
    const bool is_of_its_own = stored == 0 || batch.operations.size() != stored;
    if (const std::optional<Blocked> blocked =
            take_turn(*next, is_of_its_own, records[progress.stored], turn)) {
      progress.blocked = blocked->why;
      progress.is_full = blocked->is_full;
      return progress;
    }
  }
  return progress;
}

std::variant<Record, Passed, First> Tree::fit(const Record& record, const Moves& moves) {
  Adapted adapted = adapt(record, index_, moves, gives_way_ ? Yields::kNewcomer : yields_);
  if (auto* fits = std::get_if<Record>(&adapted)) {
    return std::move(*fits);
  }
  if (const auto* passed = std::get_if<Passed>(&adapted)) {
    return *passed;
  }
  auto& todo = std::get<Repair>(adapted);
  if (const auto* drop = std::get_if<DropName>(&todo);
      drop != nullptr && not_empty_ == NotEmpty::kStays && index_.has_directory(drop->fid) &&
      !replica_.list(drop->fid).empty()) {
    return Passed::kConflict;
  }
  return First{.action = [this, todo = std::move(todo)] { return repair(todo); }, .then = {}};
}

Name Tree::name_for_loser(const Name& wanted, const Fid& fid, std::uint64_t number) const {
  return {.dir = index_.has_directory(wanted.dir) ? wanted.dir : kRootFid,
          .name = conflict_name(wanted.name, fid, number)};
}

bool Tree::keep_copy(const Name& wanted, const Fid& fid, std::uint64_t number, const Body& body) {
  Name copy = name_for_loser(wanted, fid, number);
  for (std::uint64_t more = 0; more < 100; more++) {
    copy.name = conflict_name(wanted.name, fid, number + more);
    Replica::Kept kept = replica_.keep_copy(copy, body, wanted);
    if (kept == Replica::Kept::kForbidden && copy.dir != kRootFid) {
      copy.dir = kRootFid;
      kept = replica_.keep_copy(copy, body, wanted);
    }
    if (kept != Replica::Kept::kTaken) {
      return kept == Replica::Kept::kDone;
    }
  }
  return false;
}

bool Tree::repair(const Repair& repair) {
  if (const auto* move = std::get_if<MoveAway>(&repair)) {
    const Object* object = index_.find(move->fid);
    return object == nullptr || replica_.move(object->handle, move->from, move->to);
  }
  const auto& drop = std::get<DropName>(repair);
  const Object* object = index_.find(drop.fid);
  if (object == nullptr) {
    return true;
  }
  if (S_ISDIR(object->type)) {
    clear_directory(drop.fid);
  } else if (S_ISREG(object->type)) {
    const std::shared_ptr<Body> body = replica_.read_body(drop.name, object->handle).body;
    if (!body || !keep_copy(drop.name, drop.fid, kCopyOfDropped, *body)) {
      return false;
    }
  }
  return replica_.remove(object->handle, drop.name);
}

bool Tree::clear_directory(const Fid& dir) {
  for (const std::string& name : replica_.list(dir)) {
    const Name from{.dir = dir, .name = name};
    const std::optional<Fid> fid = index_.at(from);
    // One that is not in the index yet comes with the log.
    if (!fid) {
      continue;
    }
    for (std::uint64_t number = 0; number < 1000; number++) {
      const Name to{.dir = kRootFid, .name = conflict_name(name, *fid, number)};
      if (index_.at(to)) {
        continue;
      }
      if (replica_.move(index_.find(*fid)->handle, from, to)) {
        break;
      }
    }
  }
  return true;
}

}  // namespace izo::repl
