// SPDX-License-Identifier: GPL-2.0
#include "repl/server.h"

#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "repl/attributes.h"
#include "repl/sml.h"
#include "repl/times.h"

namespace izo::repl {

using kml::kRootFid;
using kml::Op;

namespace {

/// Replicas that one client can make known at once.
constexpr std::size_t kMostNews = 64;
/// About how many bytes of records describe objects in one answer; the others are asked for again.
constexpr std::size_t kDescribed = std::size_t{4} << 20;
constexpr Fid kLastFid{.replica = UINT16_MAX, .ino = UINT64_MAX, .generation = UINT32_MAX};

std::size_t size_of(const Record& record) {
  std::size_t out = sizeof(izo_kml_head) + record.target.value_or("").size();
  for (const kml::Xattr& one : record.xattrs) {
    out += one.name.size() + one.value.size();
  }
  return out;
}

/// Tells the records of all clients apart, and is the same when one comes again.
std::uint64_t number_of(const Record& record) {
  return std::uint64_t{record.origin} << 48 ^ record.recno;
}

}  // namespace

Server::Server(Replica& replica, OnLosses on_losses)
    : replica_(replica),
      on_losses_(std::move(on_losses)),
      tree_(replica, Yields::kNewcomer, [this](const Record& record) {
        history_.add(record, access_of(record, tree_.index()));
        moves_.add(record);
        origins_[record.origin].insert_or_assign(record.recno, record.origin_recno);
        known_[record.origin] = {record.origin_recno, record.time};
      }) {}

Response Server::answer(const Request& request) {
  return std::visit([this](const auto& one) { return answer_one(one); }, request);
}

Response Server::answer_one(const Hello& hello) {
  const Replica::State state = replica_.state();
  if (hello.replica == state.replica) {
    return Refusal{"the client is this replica itself"};
  }
  Received accepted = replica_.received(hello.replica).value_or(Received{});
  if (accepted.epoch != 0 && accepted.epoch != hello.epoch) {
    // What the old one had last may never have come, and nobody can tell; and numbers of its
    // records, which others know it by, would mean two things.
    return Refusal{std::string("the client's log has begun anew: ") + kMakeAnew};
  }
  if (accepted.epoch == 0) {
    accepted = {.epoch = hello.epoch, .recno = 0, .offset = 0};
    try {
      replica_.set_received(hello.replica, accepted);
    } catch (const NoRoom&) {
      return Refusal{
          "the server has no room for one more replica: it keeps the positions of all that it ever "
          "met: see intersync(8)"};
    }
  }
  const auto [known, known_time] = known_[replica_.index_of(hello.replica)];
  tree_.know_replicas();
  return Welcome{.replica = state.replica,
                 .epoch = state.epoch,
                 .table = replica_.state().table,
                 .first = state.first,
                 .first_recno = state.first_recno,
                 .accepted = accepted,
                 .known = known,
                 .known_time = known_time};
}

Response Server::answer_one(const Pull& pull) {
  const Replica::State state = replica_.state();
  if (pull.epoch != state.epoch) {
    return Refusal{"the server's log has begun anew"};
  }
  if (!replica_.received(pull.replica)) {
    return Refusal{"the client has not said hello"};
  }
  if (pull.offset < state.first) {
    return Refusal{"the server does not have the records any more that the client needs"};
  }
  if (pull.offset > state.end) {
    return Refusal{"the server's log ends before what the client has of it"};
  }
  Replica::Records got;
  try {
    got = replica_.read(pull.offset);
  } catch (const NoRecord& fault) {
    // The client made that up, or the log is damaged: either way the tree is as it was.
    return Refusal{fault.what()};
  }
  return Pulled{
      .records = std::move(got.records),
      .next = got.next,
      .table = state.table,
      .digest = is_end(pull.offset) ? std::optional(tree_.index().digest()) : std::nullopt,
      .echoed = echoed(replica_.index_of(pull.replica), pull.recno)};
}

bool Server::is_end(std::uint64_t offset) {
  tree_.catch_up();
  return tree_.is_current() && tree_.offset() == offset;
}

Response Server::answer_one(const List& list) {
  Listed out;
  out.is_current = list.offset == 0 ? tree_.catch_up_exactly() : is_end(list.offset);
  const Replica::State state = replica_.state();
  out.at = {.epoch = state.epoch, .recno = tree_.recno(), .offset = tree_.offset()};
  out.table = state.table;
  if (out.is_current) {
    for (const auto& [name, fid] : tree_.index().names()) {
      out.entries.push_back({.name = name, .fid = fid});
    }
  }
  return out;
}

std::uint64_t Server::echoed(std::uint16_t origin, std::uint64_t recno) const {
  const auto found = origins_.find(origin);
  if (found == origins_.end()) {
    return 0;
  }
  const auto behind = found->second.upper_bound(recno);
  return behind != found->second.begin() ? std::prev(behind)->second : 0;
}

Response Server::answer_one(const Fetch& fetch) {
  tree_.catch_up_all();
  Fetched out;
  for (const Fetch::Item& item : fetch.items) {
    if (history_.written_since(key_of(item.fid, IZO_ASPECT_BODY), 0, item.recno)) {
      out.bodies.emplace_back(nullptr);
    } else {
      out.bodies.push_back(tree_.read_body(item.fid));
    }
  }
  return out;
}

Response Server::answer_one(const Describe& describe) {
  tree_.catch_up_all();
  const Replica::State state = replica_.state();
  Described out{.table = {}, .at = {}, .gone = {}, .records = {}};
  std::size_t bytes = 0;
  for (const Fid& fid : describe.fids) {
    if (bytes > kDescribed) {
      break;
    }
    const std::optional<Portrait> is = portrait(fid);
    const Object* object = tree_.index().find(fid);
    if (is) {
      const Received at{.epoch = state.epoch, .recno = tree_.recno(), .offset = tree_.offset()};
      const Name name = object != nullptr ? object->names.front() : Name();
      for (Record& record : sml_of(fid, name, *is, at, state.self)) {
        bytes += size_of(record);
        out.records.push_back(std::move(record));
      }
    } else if (object == nullptr && fid != kRootFid) {
      out.gone.push_back(fid);
    }
  }
  // What a power cut would take back is not told (I2): no record would say so.
  tree_.catch_up_all();
  out.at = {.epoch = state.epoch, .recno = tree_.recno(), .offset = tree_.offset()};
  out.table = replica_.state().table;
  return out;
}

std::optional<Portrait> Server::portrait(const Fid& fid) {
  for (unsigned tries = 0; tries < 5; tries++) {
    if (fid != kRootFid && tree_.index().find(fid) == nullptr) {
      return std::nullopt;
    }
    if (std::optional<Portrait> found = replica_.portrait(fid)) {
      return found;
    }
    // It, or a directory above it, has moved or gone: the log tells.
    tree_.catch_up_all();
  }
  return std::nullopt;
}

/// Of a Push: the records that are the next ones of the client's log, with our indices.
struct Server::Taken {
  std::vector<Record> records;
  std::map<std::uint64_t, std::shared_ptr<Body>> bodies;  ///< By their numbers.
};

std::variant<Server::Taken, Response> Server::take(const Push& push, const Received& had) {
  const std::uint16_t client = replica_.index_of(push.replica);
  const Translation translation = Translation::from(push.table, replica_);
  Taken out;
  for (std::size_t i = 0; i < push.records.size(); i++) {
    std::optional<Record> record = translation(push.records[i]);
    if (!record) {
      return Refusal{"a record names a replica that the client's table does not have"};
    }
    const bool birth =
        name_made(*record) && record->attr && record->op != Op::kRename && record->op != Op::kLink;
    if (record->origin != client || record->epoch != push.epoch ||
        (birth && record->object.replica != client) ||
        (record->whiteout && record->whiteout->fid.replica != client)) {
      return Refusal{"a record of the client's log is not its own"};
    }
    if (record->recno <= had.recno) {
      continue;
    }
    if (record->recno != had.recno + 1 + out.records.size()) {
      return Pushed{.accepted = had, .stopped = {}};
    }
    if (i < push.bodies.size() && push.bodies[i]) {
      out.bodies.emplace(record->recno, push.bodies[i]);
    }
    out.records.push_back(*std::move(record));
  }
  return out;
}

Response Server::answer_one(const Push& push) {
  const std::optional<Received> had = replica_.received(push.replica);
  if (!had || had->epoch != push.epoch) {
    return Refusal{"the client has not said hello"};
  }
  const Replica::State state = replica_.state();
  const auto news = std::count_if(push.table.begin(), push.table.end(), [&](const Uuid& one) {
    return std::find(state.table.begin(), state.table.end(), one) == state.table.end();
  });
  if (static_cast<std::size_t>(news) > kMostNews) {
    return Refusal{"the client's table has " + std::to_string(news) +
                   " replicas that the server does not know"};
  }
  std::variant<Taken, Response> taken = take(push, *had);
  tree_.know_replicas();
  if (auto* answer = std::get_if<Response>(&taken)) {
    return std::move(*answer);
  }
  copied_.clear();
  passed_.clear();
  losses_.begin();
  root_time_ = {};
  const auto& [records, bodies] = std::get<Taken>(taken);
  const Tree::Progress progress = tree_.apply(
      push.replica, push.epoch, Batch::Kind::kForwarded, records,
      [&, &bodies = bodies](const Record& record, std::optional<Passed> pass) {
        passed_[record.recno] += pass ? 1 : 0;
        const auto body = bodies.find(record.recno);
        Tree::Decision decision =
            pass ? Tree::Decision(*pass)
                 : decide(record, body != bodies.end() ? body->second : nullptr);
        losses_.decided(record, decision);
        return acknowledged(record, std::move(decision));
      },
      push.partial ? NotEmpty::kStays : NotEmpty::kIsEmptied);
  settle(std::span(records).first(progress.stored), progress.inexact);
  // Only what a power cut leaves is acknowledged (I2).
  replica_.commit();
  return Pushed{.accepted = replica_.received(push.replica).value_or(*had),
                .stopped = progress.blocked};
}

void Server::settle(std::span<const Record> stored, const std::set<std::uint64_t>& inexact) {
  for (const Record& record : stored) {
    evened_.erase(evened_.lower_bound({number_of(record), Fid()}),
                  evened_.upper_bound({number_of(record), kLastFid}));
  }
  if (on_losses_) {
    on_losses_(losses_.of(stored, inexact, tree_.index()));
  }
}

bool Server::written_since(const Record& record, const Key& key) const {
  return history_.written_since(key, record.origin, record.seen);
}

Tree::Decision Server::acknowledged(const Record& record, Tree::Decision decision) {
  const auto* passed = std::get_if<Passed>(&decision);
  const auto* applied = std::get_if<Operation>(&decision);
  if (passed != nullptr || applied != nullptr) {
    if (std::optional<First> first =
            even_directories(record, applied != nullptr ? &applied->record : nullptr)) {
      first->then = passed != nullptr ? std::optional(*passed) : std::nullopt;
      return *std::move(first);
    }
  }
  if (applied != nullptr) {
    for (const auto& [dir, time] : directory_times(applied->record, tree_.index())) {
      root_time_ = dir == kRootFid ? std::max(root_time_, time) : root_time_;
    }
  }
  // A body that a later record of the client's brings: that one is answered.
  if (passed == nullptr || *passed == Passed::kSuperseded) {
    return decision;
  }
  // One that cannot be recorded, such as the time of an immutable file, is not tried for ever.
  if (const auto tried = passed_.find(record.recno); tried != passed_.end() && tried->second > 4) {
    return decision;
  }
  if (*passed == Passed::kConflict && sets_attributes(record)) {
    // The client's are different now.
    const std::optional<Portrait> is = replica_.portrait(record.object);
    if (!is) {
      // It has moved, or is only moved by what comes before in the batch.
      return First{.action = [] { return true; }, .then = {}};
    }
    std::optional<Record> ours = attributes_as_they_are(record, *is);
    return ours ? operation_for(*std::move(ours), tree_.index()) : decision;
  }
  const Fid& object = record.place ? kRootFid : record.object;
  std::optional<kml::Time> ours =
      record.place || sets_time(record) ? replica_.mtime(object) : std::nullopt;
  if (ours && record.place) {
    // What comes before it in the batch has not been done yet.
    ours = std::max(*ours, root_time_);
  }
  return ours ? operation_for(only_time(record, object, {.valid = IZO_ATTR_MTIME, .mtime = *ours}),
                              tree_.index())
              : decision;
}

std::optional<First> Server::even_directories(const Record& record, const Record* here) {
  std::map<Fid, kml::Time> due;
  for (const auto& [dir, time] : directory_times(record, tree_.index())) {
    due[dir] = std::max(due[dir], time);
  }
  if (here != nullptr) {
    for (const auto& [dir, time] : directory_times(*here, tree_.index())) {
      due.erase(dir);
    }
  }
  std::erase_if(due, [&](const auto& one) {
    const std::optional<kml::Time> ours = replica_.mtime(one.first);
    if (!ours) {
      // What the batch so far only makes is looked at behind it.
      const Object* object = tree_.index().find(one.first);
      return object == nullptr || !object->handle.result;
    }
    if (*ours == one.second) {
      return true;
    }
    // Ours that is newer is recorded once more, so that the client learns of it; one that cannot
    // be set, of an immutable directory, is not tried for ever.
    return evened_[{number_of(record), one.first}] >= (*ours > one.second ? 1U : 4U);
  });
  if (due.empty()) {
    return std::nullopt;
  }
  return First{.action =
                   [this, number = number_of(record), due = std::move(due)] {
                     for (const auto& [dir, time] : due) {
                       if (const std::optional<kml::Time> ours = replica_.mtime(dir)) {
                         replica_.set_mtime(dir, std::max(*ours, time));
                       }
                       evened_[{number, dir}]++;
                     }
                     return true;
                   },
               .then = {}};
}

Tree::Decision Server::decide(const Record& record, const std::shared_ptr<Body>& body) {
  if (record.op == Op::kClose) {
    return decide_close(record, body);
  }
  if (std::optional<Tree::Decision> first = before_removal(record)) {
    return *std::move(first);
  }
  std::variant<Record, Passed, First> fitted = tree_.fit(record, moves_);
  if (auto* first = std::get_if<First>(&fitted)) {
    return std::move(*first);
  }
  if (const auto* passed = std::get_if<Passed>(&fitted)) {
    return *passed;
  }
  Record& fits = std::get<Record>(fitted);
  switch (record.op) {
    case Op::kSetattr:
    case Op::kSetxattr:
    case Op::kRemovexattr:
      return decide_attributes(fits);
    default:
      break;
  }
  // The client will speak of the name that it gave.
  const std::optional<Name> said = name_made(record);
  const std::optional<Name> given = name_made(fits);
  if (said && given && *said != *given) {
    moves_.add(record.object, *said, *given);
  }
  return operation_for(std::move(fits), tree_.index());
}

Tree::Decision Server::decide_close(const Record& record, const std::shared_ptr<Body>& body) {
  if (!body) {
    return Passed::kSuperseded;
  }
  if (!body->fits()) {
    return Passed::kRefused;
  }
  const Object* object = tree_.index().find(record.object);
  if (object != nullptr && !written_since(record, key_of(record.object, IZO_ASPECT_BODY))) {
    Operation out = operation_for(record, tree_.index());
    out.body = body;
    return out;
  }
  Name wanted{.dir = kRootFid, .name = "lost"};
  if (object != nullptr) {
    wanted = object->names.front();
  } else if (record.hint) {
    wanted = {.dir = record.hint->dir, .name = record.hint->name};
  }
  return First{.action =
                   [this, body, wanted, fid = record.object, number = number_of(record)] {
                     return tree_.keep_copy(wanted, fid, number, *body);
                   },
               .then = Passed::kConflict};
}

Tree::Decision Server::decide_attributes(const Record& record) {
  const bool is_xattr = record.op != Op::kSetattr;
  if (sets_owner_or_mode(record)
          ? written_since(record, key_of(record.object, IZO_ASPECT_ATTR))
          : is_xattr && written_since(record, {.fid = record.object,
                                               .aspect = IZO_ASPECT_XATTR,
                                               .name = record.xattrs.front().name})) {
    return Passed::kConflict;
  }
  return operation_for(record, tree_.index());
}

std::optional<Tree::Decision> Server::before_removal(const Record& record) {
  std::optional<Fid> victim;
  if (record.op == Op::kUnlink && record.nlink == 0) {
    victim = record.object;
  } else if (record.op == Op::kRename && record.replaced && record.replaced->nlink == 0 &&
             (record.flags & IZO_KML_EXCHANGE) == 0) {
    victim = record.replaced->fid;
  }
  const Object* object = victim ? tree_.index().find(*victim) : nullptr;
  if (object == nullptr || !S_ISREG(object->type) ||
      !written_since(record, key_of(*victim, IZO_ASPECT_BODY))) {
    return std::nullopt;
  }
  // Its body is one that the client has not seen.
  const std::pair copy(number_of(record),
                       history_.written_at(key_of(*victim, IZO_ASPECT_BODY), record.origin));
  if (copied_.contains(copy)) {
    return std::nullopt;
  }
  return First{.action =
                   [this, copy, fid = *victim, name = object->names.front()] {
                     const std::optional<std::shared_ptr<Body>> body = tree_.read_body(fid);
                     if (!body || !*body || !tree_.keep_copy(name, fid, copy.first, **body)) {
                       return false;
                     }
                     copied_.insert(copy);
                     return true;
                   },
               .then = {}};
}

}  // namespace izo::repl
