// SPDX-License-Identifier: GPL-2.0
// Modification times on a client, which never conflict: in the order of the server's log the last
// one stays. The kernel sets what a record says when it is applied; here is what that leaves out,
// as records of our own come back late, or are passed.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "repl/index.h"

namespace izo::repl {

class Times {
 public:
  /// A record of our own log, which may be read later than it was made. `contested`: others may
  /// have set a time since, and nobody knows.
  void made(const Record& record, bool contested);

  /// A time is about to be set, or passed, as that record says.
  void comes(const Record& record, const Index& index);

  /// Our own log has been read to its end: what is made later was made knowing all that came.
  void have_all() { others_.clear(); }

  /// A record of the server's log was applied or passed.
  void came(const Record& record, const Index& index);

  /// One of ours comes back that gives its object a time: is it to be set again, since another's
  /// came meanwhile, and none of ours is still to come?
  [[nodiscard]] bool is_due(const Record& echo) const;

  /// Ours up to `recno` have come back.
  void forget(std::uint64_t recno);

  /// Times of directories that are known, and nothing of ours is on its way that changes them.
  std::vector<std::pair<Fid, kml::Time>> take_settled();
  /// One of them could not be set.
  void give_back(const Fid& dir, const kml::Time& time) { said_.try_emplace(dir, time); }

 private:
  struct Own {
    std::uint64_t last = 0;    ///< The newest of our records that touches it,
    std::uint64_t object = 0;  ///< and the newest that is about it.
    bool contested = false;
  };

  std::unordered_map<Fid, Own> own_;
  std::map<std::uint64_t, std::vector<Fid>> touched_;  // by records that have not come back
  std::unordered_map<Fid, kml::Time> said_;            // of directories, by the server's log
  std::unordered_map<Fid, std::uint64_t> others_;      // newest records of others that came
};

/// Does a record give its object a modification time? (That of a birth is no news to anybody.)
bool sets_time(const Record& record);

/// Times that a record gives directories by what it does to names.
std::vector<std::pair<Fid, kml::Time>> directory_times(const Record& record, const Index& index);

/// A record that says of a record's object only that it has that time; all else is as in `record`.
Record only_time(const Record& record, const Fid& object, const kml::Attr& attr);

}  // namespace izo::repl
