// SPDX-License-Identifier: GPL-2.0
#include "repl/bootstrap.h"

#include <sys/stat.h>

#include <algorithm>
#include <span>

#include "base/error.h"
#include "repl/sml.h"

namespace izo::repl {

using kml::kRootFid;
using kml::Op;

namespace {

/// Names that are made together; not more than objects may be asked for at once.
constexpr std::size_t kMost = 256;
/// How often in a row nothing of what is missing is found; then it is left for another time.
constexpr unsigned kRounds = 4;
/// How often in a row no body comes; then those that are missing are left for another time.
constexpr unsigned kRefusals = 3;

/// A number for the name of a copy that no other name of the object is made with.
constexpr std::uint64_t kCopyOfServers = std::uint64_t{1} << 62;

bool is_birth(const Record& record) {
  return record.op == Op::kCreate || record.op == Op::kMkdir || record.op == Op::kMknod ||
         record.op == Op::kSymlink;
}

bool may_describe(const Record& record) {
  return is_birth(record) || record.op == Op::kSetattr || record.op == Op::kSetxattr ||
         record.op == Op::kClose;
}

}  // namespace

Bootstrap::Bootstrap(Replica& replica, Tree& tree, Own own, const Uuid& server, const Received& at,
                     std::vector<Entry> entries, Looks looks)
    : replica_(replica), tree_(tree), own_(own), server_(server), at_(at), looks_(looks) {
  put_in_order(std::move(entries));
}

/// What no directory leads to is left out: the log tells of it, or nobody made it.
void Bootstrap::put_in_order(std::vector<Entry> entries) {
  std::sort(entries.begin(), entries.end(),
            [](const Entry& one, const Entry& other) { return one.name < other.name; });
  std::unordered_map<Fid, std::vector<Entry>> within;
  for (Entry& entry : entries) {
    within[entry.name.dir].push_back(std::move(entry));
  }
  std::unordered_set<Fid> seen{kRootFid};
  items_.push_back({.entry = {.name = {}, .fid = kRootFid, .theirs = kRootFid}, .first = true});
  // The last one first: what comes one after the other lies near to each other, however deep.
  for (std::vector<Fid> due{kRootFid}; !due.empty();) {
    const auto found = within.find(due.back());
    due.pop_back();
    if (found == within.end()) {
      continue;
    }
    for (Entry& entry : found->second) {
      const bool first = seen.insert(entry.fid).second;
      if (first) {
        due.push_back(entry.fid);
      }
      items_.push_back({.entry = std::move(entry), .first = first});
    }
    within.erase(found);
  }
  names_ = items_.size();
}

bool Bootstrap::is_to_be_asked_for(const Item& item) const {
  return item.first && !own_.cannot_have.contains(item.entry.fid) &&
         (looks_ == Looks::kAtAll || !is_here(item.entry.fid));
}

bool Bootstrap::is_here(const Fid& fid) const {
  return fid == kRootFid || tree_.index().find(fid) != nullptr;
}

Describe Bootstrap::describe() const {
  Describe out;
  for (std::size_t i = next_item_; i < std::min(next_item_ + kMost, items_.size()); i++) {
    const Entry& entry = items_[i].entry;
    if (is_to_be_asked_for(items_[i])) {
      out.fids.push_back(entry.theirs);
    }
  }
  return out;
}

void Bootstrap::begin_round() {
  fruitless_ = again_.size() < items_.size() ? 0 : fruitless_ + 1;
  is_first_round_ = false;
  makes_ = !again_.empty() && fruitless_ < kRounds;
  if (makes_) {
    items_ = std::exchange(again_, {});
    next_item_ = end_ = 0;
  } else if (!again_.empty() || !misses_.empty()) {
    // What is missing could not be made in what is sealed; it is described again with that.
    seals_.clear();
  } else if (!unread_.empty()) {
    unseal_around_unread();
  }
}

/// Only files are missing. If they are all that has to be described again, the others are not.
void Bootstrap::unseal_around_unread() {
  const auto lacks = [this](const Fid& dir) {
    return std::any_of(unread_.begin(), unread_.end(),
                       [&](const Item& one) { return one.entry.name.dir == dir; });
  };
  const bool any =
      std::erase_if(seals_, [&](const Seal& one) { return lacks(one.record.object); }) != 0;
  const bool is_any_here = std::any_of(is_unread_.begin(), is_unread_.end(),
                                       [this](const Fid& fid) { return is_here(fid); });
  next_looks_ = any || is_any_here ? Looks::kAtAll : Looks::kAtMissing;
}

std::optional<Request> Bootstrap::next(std::uint64_t applied) {
  waiting_.clear();
  applied_ = applied;
  while (makes_) {
    if (next_item_ == items_.size()) {
      begin_round();
      continue;
    }
    if (end_ == next_item_) {
      Describe request = describe();
      if (!request.fids.empty()) {
        return request;
      }
      on_described(at_, {}, {});
    }
    if (std::optional<Fetch> request = fetch()) {
      return request;
    }
    if (!apply()) {
      return std::nullopt;
    }
    next_item_ = end_;
    bodies_.clear();
  }
  finish();
  return std::nullopt;
}

std::string Bootstrap::lacks() const {
  return !again_.empty()    ? again_.front().entry.name.name + " is not found on the server"
         : !misses_.empty() ? "the directory of " + misses_ + " is not here"
                            : unread_.front().entry.name.name + " cannot be read on the server";
}

std::uint64_t Bootstrap::limit() const {
  if (makes_) {
    return at_.recno;
  }
  return seals_.empty() ? UINT64_MAX : seals_.front().due;
}

void Bootstrap::on_described(const Received& at, const std::vector<Fid>& gone,
                             std::vector<Record> records) {
  if (!makes_ || end_ != next_item_ || at.epoch != at_.epoch || at.recno < at_.recno) {
    throw Error("the server describes what was not asked");
  }
  std::unordered_map<Fid, std::vector<Record>> of;
  for (Record& record : records) {
    if (!may_describe(record) || record.epoch != at_.epoch) {
      throw Error("the server describes an object by a record that describes none");
    }
    of[record.object].push_back(std::move(record));
  }
  described_ = std::max(described_, at.recno);
  // What was written here by now shows: in the log, or as being written.
  tree_.catch_up_all();
  const std::unordered_set<Fid> went(gone.begin(), gone.end());
  const std::size_t most = std::min(next_item_ + kMost, items_.size());
  for (; end_ < most; end_++) {
    const auto& [entry, first] = items_[end_];
    if (is_unread_.contains(entry.fid)) {
      unread_.push_back(items_[end_]);
    } else if (!first) {
      add_link(entry);
    } else if (const auto found = of.find(entry.fid); found != of.end()) {
      add_object(entry, found->second, at.recno);
    } else if (!went.contains(entry.fid) && is_to_be_asked_for(items_[end_])) {
      again_.push_back(items_[end_]);
    }
  }
}

void Bootstrap::add_object(const Entry& entry, std::vector<Record>& records, std::uint64_t due) {
  for (Record& record : records) {
    if (entry.fid == kRootFid && (is_birth(record) || record.op == Op::kClose)) {
      throw Error("the server describes the root as what it cannot be");
    }
    if (is_birth(record)) {
      record.place = kml::Place{.dir = entry.name.dir, .mtime = {}, .name = entry.name.name};
    }
    if (record.op == Op::kClose && !needs_body(entry.fid)) {
      continue;
    }
    if (seals(record)) {
      seals_.push_back({.due = due, .record = std::move(record)});
    } else {
      records_.push_back(std::move(record));
    }
  }
}

void Bootstrap::add_link(const Entry& entry) {
  Record link;
  link.op = Op::kLink;
  link.origin = entry.fid.replica;
  link.recno = link.origin_recno = at_.recno + 1;
  link.offset = at_.offset;
  link.epoch = at_.epoch;
  link.aspects = IZO_ASPECT_LINK;
  link.object = entry.fid;
  link.place = kml::Place{.dir = entry.name.dir, .mtime = {}, .name = entry.name.name};
  records_.push_back(std::move(link));
}

bool Bootstrap::was_written_here(const Key& key) const {
  return own_.done.written_since(key, 0, 0);
}

/// A file that was made before has its body, but for one that was made just before everything
/// stopped: it is empty, or was until somebody began to write to it.
bool Bootstrap::needs_body(const Fid& fid) {
  if (!is_here(fid)) {
    return true;
  }
  const std::optional<Portrait> here = replica_.portrait(fid);
  if (!here || here->changing) {
    return true;
  }
  return here->attr.size == 0 && !was_written_here(key_of(fid, IZO_ASPECT_BODY));
}

std::optional<Fetch> Bootstrap::fetch() const {
  Fetch out;
  std::unordered_set<Fid> wanted;
  for (const Record& record : records_) {
    if (record.op == Op::kClose && !bodies_.contains(record.object)) {
      wanted.insert(record.object);
    }
  }
  for (std::size_t i = next_item_; i < end_ && !wanted.empty(); i++) {
    const Entry& entry = items_[i].entry;
    if (wanted.erase(entry.fid) != 0) {
      out.items.push_back({.fid = entry.theirs, .recno = at_.recno});
    }
  }
  return out.items.empty() ? std::nullopt : std::optional(std::move(out));
}

bool Bootstrap::on_fetched(const Fetch& fetch, const Fetched& fetched) {
  std::unordered_map<Fid, Fid> ours;
  for (std::size_t i = next_item_; i < end_; i++) {
    ours.emplace(items_[i].entry.theirs, items_[i].entry.fid);
  }
  bool any = false;
  for (std::size_t i = 0; i < fetch.items.size(); i++) {
    const auto found = ours.find(fetch.items[i].fid);
    if (found != ours.end() && fetched.bodies[i]) {
      bodies_[found->second] = *fetched.bodies[i];
      any = true;
    }
  }
  refusals_ = any ? 0 : refusals_ + 1;
  // One that took that long may have taken it for all that follow.
  if (refusals_ < (is_unread_.empty() ? kRefusals : 1)) {
    return true;
  }
  leave_out(fetch);
  return false;
}

/// A body that cannot be read, perhaps for good, does not keep out what comes behind its file,
/// which is made when it comes.
void Bootstrap::leave_out(const Fetch& fetch) {
  refusals_ = 0;
  for (std::size_t i = next_item_; i < end_; i++) {
    const Item& item = items_[i];
    if (std::any_of(fetch.items.begin(), fetch.items.end(),
                    [&](const Fetch::Item& one) { return one.fid == item.entry.theirs; })) {
      is_unread_.insert(item.entry.fid);
      unread_.push_back(item);
    }
  }
  std::erase_if(records_, [this](const Record& one) { return is_unread_.contains(one.object); });
  std::erase_if(seals_, [this](const Seal& one) { return is_unread_.contains(one.record.object); });
}

Tree::Progress Bootstrap::apply_to_tree(std::span<const Record> records) {
  return tree_.apply(
      server_, at_.epoch, Batch::Kind::kSml, records,
      [this](const Record& record, std::optional<Passed> pass) {
        if (!pass) {
          return decide(record);
        }
        if (is_birth(record) && (*pass == Passed::kNotHere || *pass == Passed::kRefused)) {
          own_.cannot_have.insert(record.object);
        }
        return Tree::Decision(*pass);
      });
}

/// False: the file system takes nothing now. A file in use does not keep others from being made.
bool Bootstrap::apply() {
  while (!records_.empty()) {
    const Tree::Progress progress = apply_to_tree(records_);
    records_.erase(records_.begin(),
                   records_.begin() + static_cast<std::ptrdiff_t>(progress.stored));
    if (records_.empty()) {
      break;
    }
    if (progress.is_full || records_.front().op != Op::kClose) {
      waiting_ = progress.blocked;
      return false;
    }
    const Record& close = records_.front();
    late_.push_back({.record = close, .body = bodies_[close.object], .seal = {}});
    records_.erase(records_.begin());
  }
  return true;
}

void Bootstrap::finish() {
  install_late();
  while (!seals_.empty() && seals_.front().due <= applied_) {
    const Record& seal = seals_.front().record;
    const auto late = std::find_if(late_.begin(), late_.end(), [&](const Late& one) {
      return one.record.object == seal.object;
    });
    if (late != late_.end()) {
      late->seal = seal;
    } else if (!apply_seal(seal)) {
      return;
    }
    seals_.pop_front();
  }
}

bool Bootstrap::apply_seal(const Record& seal) {
  const Tree::Progress progress = apply_to_tree(std::span(&seal, 1));
  if (progress.stored == 0) {
    waiting_ = progress.blocked;
  }
  return progress.stored != 0;
}

void Bootstrap::install_late() {
  for (std::size_t left = late_.size(); left > 0; left--) {
    Late one = std::move(late_.front());
    late_.pop_front();
    bodies_ = {{one.record.object, one.body}};
    const Tree::Progress progress = apply_to_tree(std::span(&one.record, 1));
    if (progress.stored == 0) {
      waiting_ = progress.blocked;
      late_.push_back(std::move(one));
    } else if (one.seal && !apply_seal(*one.seal)) {
      seals_.push_front({.due = applied_, .record = *std::move(one.seal)});
    }
  }
  bodies_.clear();
}

void Bootstrap::came(const Record& record) {
  // Ours say nothing of what the server's body was.
  if (record.op == Op::kClose && record.origin != tree_.self()) {
    std::erase_if(late_, [&](const Late& one) { return one.record.object == record.object; });
  } else if (record.op == Op::kSetattr && record.attr->has(IZO_ATTR_FSFLAGS)) {
    std::erase_if(seals_, [&](const Seal& one) { return one.record.object == record.object; });
    for (Late& one : late_) {
      if (one.record.object == record.object) {
        one.seal.reset();
      }
    }
  }
}

Tree::Decision Bootstrap::decide(const Record& record) {
  if (record.op == Op::kClose) {
    return decide_body(record);
  }
  if (is_birth(record) || record.op == Op::kLink) {
    const Name name = name_made(record).value();
    if (is_birth(record) ? was_written_here(key_of(record.object, IZO_ASPECT_EXISTENCE))
                         : was_written_here(key_of(name))) {
      // Removed here, as the server will hear or has heard since.
      return Passed::kConflict;
    }
    if (own_.cannot_have.contains(name.dir)) {
      own_.cannot_have.insert(record.object);
      return Passed::kNotHere;
    }
    if (!tree_.index().has_directory(name.dir)) {
      if (!was_written_here(key_of(name.dir, IZO_ASPECT_EXISTENCE))) {
        misses_ = name.name;
      }
      return Passed::kGone;
    }
  } else if (own_.done.conflicts(access_of(record, tree_.index()), 0, 0)) {
    // The server decides, when it hears of ours; what they leave to be set nobody tells later.
    std::optional<Record> rest = own_.attributes.apart_from_ours(record);
    return rest ? Tree::Decision(operation_for(*std::move(rest), tree_.index()))
                : Passed::kConflict;
  }
  std::variant<Record, Passed, First> fitted = tree_.fit(record, own_.moves);
  if (auto* first = std::get_if<First>(&fitted)) {
    return std::move(*first);
  }
  if (const auto* passed = std::get_if<Passed>(&fitted)) {
    return *passed;
  }
  return operation_for(std::get<Record>(std::move(fitted)), tree_.index());
}

Tree::Decision Bootstrap::decide_body(const Record& record) {
  const std::shared_ptr<Body>& body = bodies_.at(record.object);
  const Object* object = tree_.index().find(record.object);
  if (!body || object == nullptr) {
    return body ? Passed::kGone : Passed::kSuperseded;
  }
  if (!body->fits()) {
    return Passed::kRefused;
  }
  if (was_written_here(key_of(record.object, IZO_ASPECT_BODY))) {
    // Written before the server's body was here: who wrote has not seen it, and nobody can tell.
    return First{.action =
                     [this, body, name = object->names.front(), fid = record.object] {
                       return tree_.keep_copy(name, fid, kCopyOfServers, *body);
                     },
                 .then = Passed::kConflict};
  }
  Operation out = operation_for(record, tree_.index());
  out.body = body;
  return out;
}

}  // namespace izo::repl
