// SPDX-License-Identifier: GPL-2.0
// What a client does where digests say that its names are not the server's.

#include <algorithm>
#include <map>
#include <set>

#include "base/error.h"
#include "repl/client.h"

namespace izo::repl {

/// Gives every object the names that it has on the server. Changes of our own, and so pushed:
/// there, they are so already.
void Client::compare(const List& list, const Listed& listed) {
  // The next Pull that finds the end of the log tells again whether they differ.
  differs_ = false;
  pulled_something_ = true;
  if (!listed.is_current || list.offset != next_ || !is_even()) {
    return;
  }
  std::map<Name, Fid> theirs;
  std::set<Fid> there;
  for (const Listed::Entry& entry : listed.entries) {
    if (!server_.translation.knows(entry.fid.replica) ||
        !server_.translation.knows(entry.name.dir.replica)) {
      throw Error("the server's tree names a replica that its table does not have");
    }
    const Fid fid = server_.translation(entry.fid);
    theirs.emplace(Name{.dir = server_.translation(entry.name.dir), .name = entry.name.name}, fid);
    there.insert(fid);
  }
  const std::uint64_t before = tree_.index().digest();
  const bool lacks = std::any_of(there.begin(), there.end(), [this](const Fid& fid) {
    return fid != kml::kRootFid && tree_.index().find(fid) == nullptr &&
           !cannot_have_.contains(fid);
  });
  if (lacks && copied_for_ != std::pair(their_digest_, before)) {
    // What is not here is copied, as in the beginning.
    copied_for_.emplace(their_digest_, before);
    Received at = received();
    at.partial = true;
    replica_.set_received(server_.replica, at);
    partial_ = true;
    own_ = pending_history_;
    begin_copy(listed, Bootstrap::Looks::kAtMissing);
    return;
  }
  try {
    make_even(theirs, there);
  } catch (const Full& full) {
    uneven_ = true;
    uneven_why_ = Blocked::by_full(full.what()).why;
  }
  if (tree_.index().digest() == before && !uneven_) {
    hopeless_.emplace(their_digest_, before);
    is_hopeless_ = true;
  }
}

void Client::make_even(const std::map<Name, Fid>& theirs, const std::set<Fid>& there) {
  const Index& index = tree_.index();
  const auto is_right = [&](const Name& name, const Fid& fid) {
    const auto found = theirs.find(name);
    return found != theirs.end() && found->second == fid;
  };
  // A name may become free, and a directory be there, only by an earlier change.
  for (bool any = true; any;) {
    any = false;
    for (const auto& [name, fid] : theirs) {
      if (!index.has_name(fid, name) && index.find(fid) != nullptr &&
          index.has_directory(name.dir)) {
        any = give_name(name, fid, is_right) || any;
      }
    }
  }
  std::vector<std::pair<Name, Fid>> extra;
  for (const auto& [name, fid] : index.names()) {
    if (!is_right(name, fid)) {
      extra.emplace_back(name, fid);
    }
  }
  for (const auto& [name, fid] : extra) {
    if (!there.contains(fid) && !tree_.read_body(fid)) {
      // What is in it would be lost; it is asked for again.
      uneven_ = true;
      uneven_why_ = kUnread;
    } else if (!there.contains(fid)) {
      tree_.repair(DropName{.fid = fid, .name = name});
    } else if (const Object* object = index.find(fid);
               object != nullptr && object->names.size() > 1) {
      replica_.remove(object->handle, name);
    }
    tree_.catch_up_all();
  }
}

bool Client::give_name(const Name& name, const Fid& fid,
                       const std::function<bool(const Name&, const Fid&)>& is_right) {
  if (const std::optional<Fid> taken = tree_.index().at(name)) {
    tree_.repair(MoveAway{
        .fid = *taken, .from = name, .to = tree_.name_for_loser(name, *taken, ++repairs_)});
    tree_.catch_up_all();
  }
  const Object* object = tree_.index().find(fid);
  if (object == nullptr) {
    return false;
  }
  const Names& names = object->names;
  const auto wrong = std::find_if(names.begin(), names.end(),
                                  [&](const Name& one) { return !is_right(one, fid); });
  const bool done = wrong != names.end() ? replica_.move(object->handle, *wrong, name)
                                         : replica_.add_name(object->handle, names.front(), name);
  return tree_.catch_up_all() && done;
}

}  // namespace izo::repl
