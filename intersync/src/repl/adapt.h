// SPDX-License-Identifier: GPL-2.0
// How a peer's record is made to fit a tree that has changed too. Pure. docs/conflicts.md has the
// rules: records say what becomes of an object, wherever it is now; names that cannot be had become
// conflict names; whatever was removed stays removed.
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "repl/index.h"
#include "repl/moves.h"
#include "repl/replica.h"

namespace izo::repl {

/// Who gives way where two objects want one name.
enum class Yields {
  kNewcomer,  ///< The record's: on a server, whose tree is what others see.
  kOccupant,  ///< What is there: on a client.
};

/// What must be done here first, as a change of our own.
struct MoveAway {
  Fid fid;
  Name from;
  Name to;

  bool operator==(const MoveAway&) const = default;
};

/// The object is removed elsewhere, but has this name more here. Its body is kept as a copy; what
/// is in a directory is moved to the root.
struct DropName {
  Fid fid;
  Name name;

  bool operator==(const DropName&) const = default;
};

using Repair = std::variant<MoveAway, DropName>;
using Adapted = std::variant<Record, Passed, Repair>;

/// What to apply, or why nothing, or what to do before asking again. `moves`: what this side did to
/// names; of it counts what the record's maker had not seen: on a server, records of other origins
/// with numbers above the record's `seen`; on a client, all.
Adapted adapt(Record record, const Index& index, const Moves& moves, Yields yields);

/// The name that a record gives to its object.
std::optional<Name> name_made(const Record& record);

/// The operation that applies it, with handles and names from the index.
Operation operation_for(Record record, const Index& index);

}  // namespace izo::repl
