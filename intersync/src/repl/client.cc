// SPDX-License-Identifier: GPL-2.0
#include "repl/client.h"

#include <sys/stat.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "repl/sml.h"

namespace izo::repl {

using kml::Op;

namespace {

/// Records of one Push, and CLOSEs of one Fetch.
constexpr std::size_t kMost = 256;
/// Records that wait to be applied; beyond it no more are pulled.
constexpr std::size_t kQueue = 4096;
/// The most calls of try_again() before what could not be had is asked for again.
constexpr unsigned kPatience = 64;

bool may_remove_directory(const Record& record) {
  return record.op == Op::kRmdir || (record.op == Op::kRename && record.replaced);
}

/// The part of a rename that is left where the object is not that gets the name.
Record replaced_is_removed(const Record& rename, const Index& index) {
  Record out;
  out.op = index.has_directory(rename.replaced->fid) ? Op::kRmdir : Op::kUnlink;
  out.origin = rename.origin;
  out.recno = rename.recno;
  out.origin_recno = rename.origin_recno;
  out.offset = rename.offset;
  out.length = rename.length;
  out.epoch = rename.epoch;
  out.seen = rename.seen;
  out.aspects = IZO_ASPECT_EXISTENCE | IZO_ASPECT_LINK;
  out.object = rename.replaced->fid;
  out.place = rename.to;
  return out;
}

}  // namespace

Client::Client(Replica& replica, OnLosses on_losses)
    : replica_(replica),
      on_losses_(std::move(on_losses)),
      own_log_(replica),
      tree_(replica, Yields::kOccupant, [this](const Record& record) { on_own(record); }) {
  is_beginning_ = false;
}

void Client::on_own(const Record& record) {
  own_log_.made(record);
  if (std::optional<Name> name = name_made(record)) {
    sent_names_.insert_or_assign(record.recno, *std::move(name));
  }
  times_.made(record, !connected_ || partial_);
  own_attributes_.made(record, is_beginning_);
  moves_.add(record);
  moves_.claim(record);
  if (partial_) {
    own_.add(record, access_of(record, tree_.index()));
  }
  if (record.recno > accepted_.recno) {
    pending_history_.add(record, access_of(record, tree_.index()));
    pending_.push_back(record);
  }
}

void Client::accept(const Received& accepted) {
  if (accepted.recno < accepted_.recno) {
    // What it lost is not pending any more, but is in our log, which is read anew after an error.
    throw Error("the server has this replica's records only up to " +
                std::to_string(accepted.recno) + ", it had them up to " +
                std::to_string(accepted_.recno));
  }
  accepted_ = accepted;
  while (!pending_.empty() && pending_.front().recno <= accepted.recno) {
    pending_.pop_front();
  }
  pending_history_.forget(accepted.recno);
}

std::optional<Request> Client::next() {
  // News of ours may let a body be read; what stops the server is not here.
  if (tree_.catch_up() && (is_unread_ || stopped_.empty())) {
    push_waits_ = false;
  }
  if (!connected_) {
    if (asking_) {
      return std::nullopt;
    }
    asking_ = true;
    const Replica::State state = replica_.state();
    return Hello{.replica = state.replica, .epoch = state.epoch, .table = state.table};
  }
  if (tree_.is_current()) {
    times_.have_all();
  }
  apply_queue();
  settle();
  if (!asking_) {
    if (std::optional<Request> request = ask()) {
      asking_ = true;
      return request;
    }
  }
  if (!pulling_ && queue_.size() < kQueue && received().epoch != 0) {
    pulling_ = true;
    return Pull{.replica = replica_.state().replica,
                .epoch = server_.epoch,
                .offset = next_,
                .recno = queue_.empty() ? received().recno : queue_.back().recno};
  }
  return std::nullopt;
}

/// Besides Pull.
std::optional<Request> Client::ask() {
  copy_asks_ = false;
  std::optional<Request> request;
  // It must come to an end also where there is always something else to ask.
  const bool has_copys_turn = std::exchange(copy_is_next_, false);
  if (!has_copys_turn) {
    request = fetch_or_push();
    copy_is_next_ = request.has_value();
  }
  if (!request && partial_) {
    request = copy();
    copy_asks_ = request.has_value();
  }
  if (!request) {
    // What had to wait for the copy, or its turn.
    request = fetch_or_push();
  }
  if (!request && differs_ && is_even()) {
    request = List{.offset = next_};
  }
  return request;
}

std::optional<Request> Client::fetch_or_push() {
  std::optional<Request> request = fetch();
  if (!request && received().epoch != 0) {
    // Else what others make of it would not be in the part of their log that comes.
    request = push();
  }
  return request;
}

/// Names first, then what is missing of them, one after the other; the log goes on between.
std::optional<Request> Client::copy() {
  if (fetch_waits_) {
    return std::nullopt;
  }
  if (!bootstrap_) {
    if (copy_waits_) {
      return std::nullopt;
    }
    // The names are to be of no earlier time than what is here.
    hold_ = received().recno;
    own_ = pending_history_;
    return List{.offset = 0};
  }
  for (std::uint64_t applied = received().recno; applied >= bootstrap_->at().recno;) {
    if (std::optional<Request> request = bootstrap_->next(applied)) {
      return request;
    }
    if (bootstrap_->is_done()) {
      if (bootstrap_->is_whole()) {
        if (!whole_behind_) {
          tree_.catch_up_all();
          whole_behind_ = tree_.recno();
        }
        if (!pending_.empty() && pending_.front().recno <= *whole_behind_) {
          // The server is to hear, with these, that not all was here.
          return push();
        }
      }
      end_copy();
      apply_queue();
      settle();
      break;
    }
    hold_ = bootstrap_->limit();
    apply_queue();
    if (std::exchange(applied, received().recno) == applied) {
      break;
    }
  }
  return std::nullopt;
}

void Client::begin_copy(const Listed& listed, Bootstrap::Looks looks) {
  if (!listed.is_current) {
    copy_waits_ = true;
    copy_lacks_ = "the server's tree changes too fast to be copied";
    hold_ = UINT64_MAX;
    return;
  }
  const Received had = received();
  if (listed.at.epoch != server_.epoch || listed.at.recno < had.recno) {
    throw Error("the server tells names of its tree, but of another time");
  }
  std::vector<Bootstrap::Entry> entries;
  for (const Listed::Entry& entry : listed.entries) {
    if (!server_.translation.knows(entry.fid.replica) ||
        !server_.translation.knows(entry.name.dir.replica)) {
      throw Error("the server's tree names a replica that its table does not have");
    }
    entries.push_back(
        {.name = {.dir = server_.translation(entry.name.dir), .name = entry.name.name},
         .fid = server_.translation(entry.fid),
         .theirs = entry.fid});
  }
  if (had.epoch == 0) {
    Received at = listed.at;
    at.partial = true;
    replica_.set_received(server_.replica, at);
    next_ = at.offset;
  }
  hold_ = listed.at.recno;
  bootstrap_ = std::make_unique<Bootstrap>(replica_, tree_,
                                           Bootstrap::Own{.done = own_,
                                                          .moves = moves_,
                                                          .attributes = own_attributes_,
                                                          .cannot_have = cannot_have_},
                                           server_.replica, listed.at, std::move(entries), looks);
}

void Client::end_copy() {
  const bool lacks_flags = unsealed_ && bootstrap_->looks() == Bootstrap::Looks::kAtMissing;
  copy_waits_ = !bootstrap_->is_whole() || lacks_flags;
  copy_lacks_ = !copy_waits_ ? std::string()
                             : "not all of the server's tree could be copied yet: " +
                                   (lacks_flags ? "flags of files" : bootstrap_->lacks());
  copy_looks_ = unsealed_ ? Bootstrap::Looks::kAtAll : bootstrap_->next_looks();
  bootstrap_.reset();
  whole_behind_.reset();
  hold_ = UINT64_MAX;
  if (!copy_waits_) {
    Received whole = received();
    whole.partial = false;
    replica_.set_received(server_.replica, whole);
    partial_ = false;
    copy_patience_.reset();
    own_ = {};
    unsealed_ = false;
  }
}

bool Client::Patience::is_over() {
  if (++waited_ < limit_) {
    return false;
  }
  waited_ = 0;
  limit_ = std::min(limit_ * 2, kPatience);
  return true;
}

void Client::try_again() {
  if (copy_waits_ && copy_patience_.is_over()) {
    copy_waits_ = false;
  }
  // What keeps the server from applying it may end without a record, such as a file that was only
  // open for writing.
  if (push_waits_ && push_patience_.is_over()) {
    push_waits_ = false;
  }
  if (fetch_waits_ && fetch_patience_.is_over()) {
    fetch_waits_ = false;
  }
  if (uneven_ && uneven_patience_.is_over()) {
    uneven_ = false;
    differs_ = true;
  }
}

void Client::on_described(const Described& described) {
  learn_table(described.table);
  std::vector<Record> records;
  for (const Record& record : described.records) {
    std::optional<Record> ours = server_.translation(record);
    if (!ours) {
      throw Error("the server describes an object of a replica that its table does not have");
    }
    records.push_back(*std::move(ours));
  }
  std::vector<Fid> gone;
  for (const Fid& fid : described.gone) {
    if (!server_.translation.knows(fid.replica)) {
      throw Error("the server describes an object of a replica that its table does not have");
    }
    gone.push_back(server_.translation(fid));
  }
  if (bootstrap_) {
    bootstrap_->on_described(described.at, gone, std::move(records));
  }
}

bool Client::has_others_objects() const {
  const auto& names = tree_.index().names();
  return std::any_of(names.begin(), names.end(),
                     [this](const auto& one) { return one.second.replica != tree_.self(); });
}

Received Client::received() {
  return replica_.received(server_.replica).value_or(Received{});
}

void Client::apply_queue() {
  waiting_.clear();
  while (!queue_.empty()) {
    // Up to the first body that has not come, or that has to wait for the copy of the tree.
    std::vector<Record> ready;
    for (const Record& record : queue_) {
      if (record.recno > hold_ || (record.op == Op::kClose && record.origin != tree_.self() &&
                                   !bodies_.contains(record.recno))) {
        break;
      }
      ready.push_back(record);
      if (ready.size() == kMost) {
        break;
      }
    }
    if (ready.empty()) {
      return;
    }
    losses_.begin();
    const Tree::Progress progress =
        tree_.apply(server_.replica, server_.epoch, Batch::Kind::kLog, ready,
                    [this](const Record& record, std::optional<Passed> pass) {
                      Tree::Decision decision = pass ? Tree::Decision(*pass) : decide(record);
                      losses_.decided(record, decision);
                      return decision;
                    });
    on_stored(std::span(ready).first(progress.stored), progress.inexact);
    if (!progress.blocked.empty()) {
      waiting_ = progress.blocked;
      return;
    }
  }
}

void Client::on_stored(std::span<const Record> records, const std::set<std::uint64_t>& inexact) {
  std::uint64_t echoed = 0;
  for (const Record& record : records) {
    times_.came(record, tree_.index());
    if (bootstrap_) {
      bootstrap_->came(record);
    }
    if ((record.op == Op::kRename || record.op == Op::kLink) &&
        cannot_have_.contains(record.object)) {
      // By another name it, and what is in it, may be had.
      cannot_have_.clear();
    }
    echoed = record.origin == tree_.self() ? record.origin_recno : echoed;
    bodies_.erase(record.recno);
    queue_.pop_front();
  }
  forget_echoed(echoed);
  if (on_losses_) {
    on_losses_(losses_.of(records, inexact, tree_.index()));
  }
}

std::optional<Request> Client::fetch() {
  if (fetch_waits_) {
    return std::nullopt;
  }
  Fetch out;
  for (const Record& record : queue_) {
    if (record.recno > hold_) {
      break;
    }
    if (record.op != Op::kClose || record.origin == tree_.self() ||
        bodies_.contains(record.recno)) {
      continue;
    }
    const std::optional<Fid> theirs = server_.translation.back(record.object);
    if (!theirs) {
      throw Error("the server's log names an object of a replica that its table does not have");
    }
    out.items.push_back({.fid = *theirs, .recno = record.recno});
    if (out.items.size() == kMost) {
      break;
    }
  }
  if (out.items.empty()) {
    // Perhaps a later record has what it was waited for. A copy asks by itself.
    is_not_given_ = is_not_given_ && partial_;
    return std::nullopt;
  }
  return out;
}

std::optional<Request> Client::push() {
  if (pending_.empty() || push_waits_) {
    return std::nullopt;
  }
  const Replica::State state = replica_.state();
  Push out{.replica = state.replica,
           .epoch = state.epoch,
           .table = state.table,
           .partial = partial_,
           .records = {},
           .bodies = {}};
  // Only the last CLOSE of a body brings it.
  std::set<Fid> closed;
  const auto end = pending_.begin() + static_cast<std::ptrdiff_t>(std::min(pending_.size(), kMost));
  out.records.assign(pending_.begin(), end);
  out.bodies.resize(out.records.size());
  for (std::size_t i = out.records.size(); i-- > 0;) {
    const Record& record = out.records[i];
    if (record.op != Op::kClose || !closed.insert(record.object).second) {
      continue;
    }
    std::optional<std::shared_ptr<Body>> body = tree_.read_body(record.object);
    if (body) {
      out.bodies[i] = *std::move(body);
    } else {
      // No further than to the record before.
      out.records.resize(i);
      out.bodies.resize(i);
    }
  }
  is_unread_ = out.records.empty();
  if (is_unread_) {
    // Whoever has it may give it back without a record.
    push_waits_ = true;
    return std::nullopt;
  }
  if (partial_ && std::any_of(out.records.begin(), out.records.end(), may_remove_directory)) {
    // It may have to come again, when both sides have the same names as before.
    copied_for_.reset();
    hopeless_.reset();
  }
  return out;
}

Tree::Decision Client::decide(const Record& record) {
  if (record.origin == tree_.self()) {
    return decide_echo(record);
  }
  times_.comes(record, tree_.index());
  // Numbers of pending records all count as not seen; nobody has the origin 0.
  if (pending_history_.conflicts(access_of(record, tree_.index()), 0, 0)) {
    return Blocked{kOursFirst};
  }
  std::variant<Record, Passed, First> fitted =
      partial_ ? fit_to_part(record) : tree_.fit(record, moves_);
  if (auto* first = std::get_if<First>(&fitted)) {
    return std::move(*first);
  }
  if (const auto* passed = std::get_if<Passed>(&fitted)) {
    return *passed;
  }
  Record& fits = std::get<Record>(fitted);
  for (const auto place : {&Record::place, &Record::to}) {
    if (fits.*place && (!(record.*place) || (fits.*place)->dir != (record.*place)->dir)) {
      // The time is another directory's; on the server this one is as it was.
      (fits.*place)->mtime = {};
    }
  }
  Operation out = operation_for(std::move(fits), tree_.index());
  if (record.op == Op::kClose) {
    out.body = bodies_[record.recno];
    if (!out.body || !out.body->fits()) {
      return out.body ? Passed::kRefused : Passed::kSuperseded;
    }
  }
  return out;
}

/// Of what is not here yet the names tell that will be asked for next.
std::variant<Record, Passed, First> Client::fit_to_part(Record record) {
  const Index& index = tree_.index();
  if (record.place && !record.to && name_made(record) && !index.has_directory(record.place->dir)) {
    return Passed::kGone;
  }
  if (record.op == Op::kRename && record.replaced && record.replaced->nlink == 0 &&
      (record.flags & IZO_KML_EXCHANGE) == 0 && index.find(record.object) == nullptr) {
    record = replaced_is_removed(record, index);
  }
  if (seals(record) && (!bootstrap_ || bootstrap_->makes() || !bootstrap_->is_whole())) {
    // Something may be missing in it; when all is there it is described again, by a copy that looks
    // at what is here too.
    unseal(record);
    unsealed_ = true;
  }
  return tree_.fit(record, moves_);
}

Tree::Decision Client::decide_echo(const Record& record) {
  if (sets_time(record) && times_.is_due(record) &&
      (record.object == kml::kRootFid || tree_.index().find(record.object) != nullptr)) {
    // Times never conflict: in the server's order another's may have come before, and is set here;
    // perhaps over one of ours that has not been read from our log yet, whose turn comes.
    times_.comes(record, tree_.index());
    return operation_for(
        only_time(record, record.object, {.valid = IZO_ATTR_MTIME, .mtime = record.attr->mtime}),
        tree_.index());
  }
  if (std::optional<Record> due = own_attributes_.due(record);
      due && (record.object == kml::kRootFid || tree_.index().find(record.object) != nullptr)) {
    return operation_for(*std::move(due), tree_.index());
  }
  const auto sent = sent_names_.find(record.origin_recno);
  const std::optional<Name> came = name_made(record);
  if (sent == sent_names_.end() || !came || sent->second == *came ||
      !tree_.index().has_name(record.object, sent->second)) {
    return Passed::kEcho;
  }
  // The server gave it another name.
  const std::optional<Fid> there = tree_.index().at(*came);
  return First{.action =
                   [this, from = sent->second, to = *came, there, fid = record.object] {
                     if (there && *there != fid) {
                       tree_.repair(MoveAway{
                           .fid = *there, .from = to, .to = tree_.name_for_loser(to, *there, 0)});
                     }
                     tree_.repair(MoveAway{.fid = fid, .from = from, .to = to});
                     return true;
                   },
               .then = Passed::kEcho};
}

void Client::on(const Request& request, Response response) {
  (std::holds_alternative<Pull>(request) ? pulling_ : asking_) = false;
  if (const auto* refusal = std::get_if<Refusal>(&response)) {
    throw Error("the server refuses: " + refusal->why);
  }
  if (response.index() != request.index()) {
    throw Error("the server answers what was not asked");
  }
  if (const auto* welcome = std::get_if<Welcome>(&response)) {
    on_welcome(*welcome);
  } else if (const auto* pulled = std::get_if<Pulled>(&response)) {
    on_pulled(*pulled);
  } else if (const auto* described = std::get_if<Described>(&response)) {
    on_described(*described);
  } else if (const auto* listed = std::get_if<Listed>(&response)) {
    learn_table(listed->table);
    if (copy_asks_) {
      begin_copy(*listed, unsealed_ ? Bootstrap::Looks::kAtAll : copy_looks_);
    } else {
      compare(std::get<List>(request), *listed);
    }
  } else if (const auto* fetched = std::get_if<Fetched>(&response)) {
    on_fetched(std::get<Fetch>(request), *fetched);
  } else {
    const auto& pushed = std::get<Pushed>(response);
    push_waits_ = pushed.accepted.recno <= accepted_.recno;
    if (!push_waits_) {
      push_patience_.reset();
    }
    accept(pushed.accepted);
    stopped_ = pushed.stopped.empty() ? std::string() : "the server stops: " + pushed.stopped;
  }
}

void Client::on_failure() {
  connected_ = pulling_ = asking_ = push_waits_ = is_unread_ = false;
  fetch_waits_ = is_not_given_ = uneven_ = false;
  stopped_.clear();
  queue_.clear();
  digest_.reset();
}

void Client::on_welcome(const Welcome& welcome) {
  const std::optional<Received> had = replica_.received(welcome.replica);
  if (had && had->epoch != 0 && had->epoch != welcome.epoch) {
    throw Error(
        std::string(
            "the server's log has begun anew: this replica cannot go on from what it has; ") +
        kMakeAnew);
  }
  tree_.catch_up_all();
  own_log_.check(welcome, tree_.recno());
  Received at = had.value_or(Received{});
  partial_ = at.partial || at.epoch == 0;
  if (at.epoch == 0 && has_others_objects()) {
    // A copy made by other means: its log tells how it came to be, and what was not so any more.
    if (welcome.first_recno > 1) {
      throw Error(
          "this replica is a copy that does not know of when, and the server does not have "
          "the beginning of its log any more: make it anew, empty or as a copy of the server's "
          "disk "
          "(mkizofs --clone --of-server)");
    }
    at = {.epoch = welcome.epoch, .recno = 0, .offset = welcome.first};
    replica_.set_received(welcome.replica, at);
    partial_ = false;
  }
  if (at.epoch != 0 && (at.recno != 0 || !partial_) && at.offset < welcome.first) {
    throw Error("the server's log does not have what came behind its record " +
                std::to_string(at.recno) + " any more, up to which it is applied here; " +
                kMakeAnew);
  }
  copy_waits_ = false;
  copy_lacks_.clear();
  if (!partial_ || (bootstrap_ && bootstrap_->server() != welcome.replica)) {
    bootstrap_.reset();
    whole_behind_.reset();
    hold_ = UINT64_MAX;
  }
  if (server_.replica != welcome.replica || server_.epoch != welcome.epoch) {
    bodies_.clear();
  }
  server_ = {.replica = welcome.replica,
             .epoch = welcome.epoch,
             .translation = Translation::from(welcome.table, replica_)};
  next_ = std::max(at.offset, welcome.first);
  accept(welcome.accepted);
  connected_ = first_pull_ = true;
  pulled_something_ = true;
}

void Client::forget_echoed(std::uint64_t recno) {
  times_.forget(recno);
  own_attributes_.forget(recno);
  moves_.forget(recno);
  sent_names_.erase(sent_names_.begin(), sent_names_.upper_bound(recno));
}

void Client::learn_table(const std::vector<Uuid>& table) {
  server_.translation = Translation::from(table, replica_);
  tree_.know_replicas();
}

void Client::on_pulled(const Pulled& pulled) {
  learn_table(pulled.table);
  if (std::exchange(first_pull_, false)) {
    forget_echoed(pulled.echoed);
  }
  const std::uint64_t had = received().recno;
  for (const Record& record : pulled.records) {
    std::optional<Record> ours = server_.translation(record);
    if (!ours) {
      throw Error("the server's log names a replica that its table does not have");
    }
    const std::uint64_t due = queue_.empty() ? had + 1 : queue_.back().recno + 1;
    if (ours->recno < due) {
      continue;
    }
    if (ours->recno != due) {
      throw Error("the server's log goes on with record " + std::to_string(ours->recno) +
                  " where " + std::to_string(due) + " is due");
    }
    queue_.push_back(*std::move(ours));
  }
  next_ = pulled.next;
  pulled_something_ = !pulled.records.empty();
  push_waits_ = false;
  if (pulled.digest || pulled_something_) {
    // Else the one that was told last counts still, and is not told again.
    digest_ = pulled.digest;
  }
  settle();
}

/// Once all of ours is there too, which may be later than when the server told its digest.
void Client::settle() {
  if (!digest_ || partial_ || !is_even()) {
    return;
  }
  if (!settle_times()) {
    return;
  }
  their_digest_ = *std::exchange(digest_, std::nullopt);
  const std::uint64_t ours = tree_.index().digest();
  is_hopeless_ = their_digest_ != ours && hopeless_ == std::pair(their_digest_, ours);
  differs_ = their_digest_ != ours && !is_hopeless_;
}

bool Client::settle_times() {
  times_wait_.clear();
  for (const auto& [dir, time] : times_.take_settled()) {
    const std::optional<kml::Time> ours = replica_.mtime(dir);
    // Some file systems keep no parts of seconds.
    const bool is_same =
        ours && (*ours == time || (ours->nanoseconds == 0 && ours->seconds == time.seconds));
    try {
      if (ours && !is_same) {
        replica_.set_mtime(dir, time);
      }
    } catch (const Full& full) {
      times_wait_ = Blocked::by_full(full.what()).why;
      times_.give_back(dir, time);
    }
  }
  return times_wait_.empty();
}

bool Client::is_even() {
  tree_.catch_up();
  return queue_.empty() && pending_.empty() && tree_.is_current();
}

void Client::on_fetched(const Fetch& fetch, const Fetched& fetched) {
  if (fetched.bodies.size() != fetch.items.size()) {
    throw Error("the server sent " + std::to_string(fetched.bodies.size()) + " bodies for " +
                std::to_string(fetch.items.size()));
  }
  // What keeps the server from reading one may take long: nothing else is to wait for it.
  is_not_given_ = fetch_waits_ = std::none_of(fetched.bodies.begin(), fetched.bodies.end(),
                                              [](const auto& body) { return body.has_value(); });
  if (!fetch_waits_) {
    fetch_patience_.reset();
  }
  if (copy_asks_) {
    if (bootstrap_ && !bootstrap_->on_fetched(fetch, fetched)) {
      is_not_given_ = fetch_waits_ = false;
      fetch_patience_.reset();
    }
    return;
  }
  for (std::size_t i = 0; i < fetch.items.size(); i++) {
    if (fetched.bodies[i]) {
      bodies_[fetch.items[i].recno] = *fetched.bodies[i];
    }
  }
}

}  // namespace izo::repl
