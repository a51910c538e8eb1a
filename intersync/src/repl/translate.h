// SPDX-License-Identifier: GPL-2.0
// Records from the indices of one replica's table to those of another's.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "repl/replica.h"

namespace izo::repl {

class Translation {
 public:
  /// For each index of the peer's table, from 1, ours.
  explicit Translation(std::vector<std::uint16_t> ours) : ours_(std::move(ours)) {}
  Translation() = default;

  /// Makes known here whoever stands in a peer's table.
  static Translation from(const std::vector<Uuid>& peers_table, Replica& here);

  /// Is the index in the table? 0, nobody, is in every one.
  [[nodiscard]] bool knows(std::uint16_t index) const { return index <= ours_.size(); }
  [[nodiscard]] std::uint16_t operator()(std::uint16_t index) const {
    return index == 0 ? index : ours_.at(index - 1U);
  }
  [[nodiscard]] Fid operator()(const Fid& fid) const {
    return {.replica = (*this)(fid.replica), .ino = fid.ino, .generation = fid.generation};
  }

  /// The other direction; nullopt if the peer does not know that replica.
  [[nodiscard]] std::optional<Fid> back(const Fid& fid) const;

  /// The record with our indices; nullopt if it names a replica that the table does not have.
  [[nodiscard]] std::optional<Record> operator()(Record record) const;

 private:
  std::vector<std::uint16_t> ours_;
};

}  // namespace izo::repl
