// SPDX-License-Identifier: GPL-2.0
#include "repl/translate.h"

#include <algorithm>

namespace izo::repl {

Translation Translation::from(const std::vector<Uuid>& peers_table, Replica& here) {
  std::vector<std::uint16_t> ours;
  ours.reserve(peers_table.size());
  for (const Uuid& replica : peers_table) {
    ours.push_back(here.index_of(replica));
  }
  return Translation(std::move(ours));
}

std::optional<Fid> Translation::back(const Fid& fid) const {
  if (fid.replica == 0) {
    return fid;
  }
  const auto found = std::find(ours_.begin(), ours_.end(), fid.replica);
  if (found == ours_.end()) {
    return std::nullopt;
  }
  return Fid{.replica = static_cast<std::uint16_t>(found - ours_.begin() + 1),
             .ino = fid.ino,
             .generation = fid.generation};
}

std::optional<Record> Translation::operator()(Record record) const {
  bool known = knows(record.origin);
  if (known) {
    record.origin = (*this)(record.origin);
  }
  const auto change = [&](Fid& fid) {
    known = known && knows(fid.replica);
    if (known) {
      fid = (*this)(fid);
    }
  };
  change(record.object);
  for (std::optional<kml::Place>* place : {&record.place, &record.to, &record.hint}) {
    if (*place) {
      change((*place)->dir);
    }
  }
  if (record.replaced) {
    change(record.replaced->fid);
  }
  if (record.whiteout) {
    change(record.whiteout->fid);
  }
  return known ? std::optional(std::move(record)) : std::nullopt;
}

}  // namespace izo::repl
