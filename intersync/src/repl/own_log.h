// SPDX-License-Identifier: GPL-2.0
// Whether a client's log still has what the server has of it. A disk that was put back to an older
// state (a backup, a snapshot) goes on with numbers that the server has other records for.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <utility>

#include "repl/messages.h"
#include "repl/replica.h"

namespace izo::repl {

class OwnLog {
 public:
  /// `replica` lives longer.
  explicit OwnLog(Replica& replica) : replica_(replica) {}

  /// A record of ours was read from our log; in their order.
  void made(const Record& record);

  /// `last`: number of our newest record, all up to it were told by made(). Throws Error if the
  /// server has other records of ours than our log.
  void check(const Welcome& welcome, std::uint64_t last);

 private:
  std::optional<std::uint64_t> time_of(std::uint64_t recno);

  Replica& replica_;
  std::map<std::uint64_t, std::uint64_t> times_;  // by number: when our last records were made
  std::optional<std::pair<std::uint64_t, std::uint64_t>>
      found_;  // the last one that was looked for
};

}  // namespace izo::repl
