// SPDX-License-Identifier: GPL-2.0
// Where names went: for a record that speaks of a name which was given up or removed on this side
// before the record came. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <utility>

#include "repl/index.h"
#include "repl/replica.h"

namespace izo::repl {

class Moves {
 public:
  /// What became of a name of an object.
  struct Moved {
    std::optional<Name> to;  ///< Nullopt: it was removed.
    std::uint64_t recno = 0;
    std::uint16_t origin = 0;
  };

  /// Remembers what a record did to names.
  void add(const Record& record);
  /// An object was given another name than its record says.
  void add(const Fid& fid, const Name& said, const Name& given);

  /// Follows a name that `fid` does not have in `index` to one that it has, or to its removal; only
  /// through records after `seen` that are not of `origin`. Nullopt: nothing is known of it.
  [[nodiscard]] std::optional<Moved> follow(const Fid& fid, Name name, const Index& index,
                                            std::uint16_t origin, std::uint64_t seen) const;

  /// Is the name one that this side gave to the object, and the peer does not know of yet? Then a
  /// record of the peer's that takes that name from it means another one.
  [[nodiscard]] bool is_claimed(const Fid& fid, const Name& name) const;
  void claim(const Record& record);

  /// Forgets records up to `recno`.
  void forget(std::uint64_t recno);

 private:
  std::map<std::pair<Fid, Name>, Moved> moved_;
  std::map<std::pair<Fid, Name>, std::uint64_t> claimed_;  // by that record
};

}  // namespace izo::repl
