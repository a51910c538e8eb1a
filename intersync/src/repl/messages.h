// SPDX-License-Identifier: GPL-2.0
// What client and server tell each other. The client asks, the server answers; how it is sent is
// proto/'s. FIDs and origins have the sender's indices, but in Fetch: there the server's.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "repl/replica.h"

namespace izo::repl {

/// What people are told to do with a replica that cannot go on.
inline constexpr const char* kMakeAnew =
    "save what has changed on it since, and make it anew, empty or as a copy of the server's disk "
    "(mkizofs --clone --of-server)";

/// Who the client is.
struct Hello {
  Uuid replica{};
  std::uint64_t epoch = 0;  ///< Of its log.
  std::vector<Uuid> table;
};

struct Welcome {
  Uuid replica{};
  std::uint64_t epoch = 0;
  std::vector<Uuid> table;
  std::uint64_t first = 0;        ///< Offset of the oldest record of the server's log.
  std::uint64_t first_recno = 0;  ///< Its number.
  Received accepted;              ///< How far the client's log has been applied on the server.
  /// The client's last record that the server's log has: its number in the client's log, 0 if there
  /// is none, and when it was made, by which the client knows whether it is the one that it has.
  std::uint64_t known = 0;
  std::uint64_t known_time = 0;
};

/// Records of the server's log from an offset on.
struct Pull {
  Uuid replica{};  ///< The client.
  std::uint64_t epoch = 0;
  std::uint64_t offset = 0;
  std::uint64_t recno = 0;  ///< Number of the last record before that offset.
};

struct Pulled {
  std::vector<Record> records;  ///< None: there are no more yet.
  std::uint64_t next = 0;       ///< Offset to go on from.
  std::vector<Uuid> table;      ///< The server's, as it is now.
  /// Of the server's names, if what was asked for is the end of its log and nothing comes behind.
  std::optional<std::uint64_t> digest;
  std::uint64_t echoed = 0;  ///< The last of the client's own records that is not behind `recno`.
};

/// All names of the server's tree, as they are at an offset that is the end of its log; 0: at
/// whatever offset that is by now.
struct List {
  std::uint64_t offset = 0;
};

struct Listed {
  struct Entry {
    Name name;
    Fid fid;
  };
  bool is_current = false;  ///< Else the tree has changed meanwhile, and there are no entries.
  Received at;              ///< What the server's log has up to there, all on the medium.
  std::vector<Uuid> table;  ///< The server's, as it is now.
  std::vector<Entry> entries;
};

/// Bodies as of a CLOSE each, or newer.
struct Fetch {
  struct Item {
    Fid fid;
    std::uint64_t recno = 0;
    /// Of a body that came in part: what its sender calls it, and how much of it is here. Filled in
    /// by who sends the request.
    std::uint64_t number = 0;
    std::uint64_t offset = 0;
  };
  std::vector<Item> items;
};

struct Fetched {
  /// Null: the body is changing, or has changed, and a later CLOSE says so; or the file is gone.
  /// Nullopt: ask again.
  std::vector<std::optional<std::shared_ptr<Body>>> bodies;
};

/// What objects are: their part of the SML.
struct Describe {
  std::vector<Fid> fids;
};

struct Described {
  std::vector<Uuid> table;  ///< The server's, as it is now.
  Received at;              ///< What the server's log has by then, all on the medium.
  std::vector<Fid> gone;    ///< Objects that are not here any more, as the log says or will.
  /// For others, those that make them, one object after the other; without any: ask again.
  std::vector<Record> records;
};

/// Records of the client's log, one after the other.
struct Push {
  Uuid replica{};
  std::uint64_t epoch = 0;
  std::vector<Uuid> table;
  /// Not all of the server's tree was there when a record of these was made: a directory that it
  /// removes may have looked empty.
  bool partial = false;
  std::vector<Record> records;
  /// Of each record; null but of a CLOSE, and of one that a later record supersedes.
  std::vector<std::shared_ptr<Body>> bodies;
};

struct Pushed {
  Received accepted;
  std::string stopped;  ///< Why not all of them were; empty: they were, or the client shall go on.
};

/// The request cannot be served: the client does not belong here.
struct Refusal {
  std::string why;
};

using Request = std::variant<Hello, Pull, List, Fetch, Push, Describe>;
using Response = std::variant<Welcome, Pulled, Listed, Fetched, Pushed, Described, Refusal>;

}  // namespace izo::repl
