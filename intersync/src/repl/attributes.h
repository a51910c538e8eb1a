// SPDX-License-Identifier: GPL-2.0
// Owner, mode, ACL and flags, which are one aspect of an object, and its extended attributes. Where
// a client's record of them lost, the server gives the record what it has itself, and forwards it
// so: the client, to which it comes back, and all others learn of that.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "repl/replica.h"

namespace izo::repl {

/// Is a record about any of them?
bool sets_attributes(const Record& record);
/// About the one aspect?
bool sets_owner_or_mode(const Record& record);

/// What the record would set, as the object has it instead, and its time, if it sets that; nullopt:
/// this file system has nothing of it.
std::optional<Record> attributes_as_they_are(const Record& record, const Portrait& is);

/// On a client: our records about them whose echoes have not come.
class OwnAttributes {
 public:
  /// A record of our own log. `contested`: echoes about the object may have been applied since, and
  /// nobody knows.
  void made(const Record& record, bool contested);

  /// One of ours comes back: what is to be set by it, if anything. That is what it says if it is
  /// not what we sent, and then too what all later ones of ours about the object say, up to the
  /// newest; without what a later one sets, so that nobody sees that change twice.
  [[nodiscard]] std::optional<Record> due(const Record& echo);

  /// What a description of the server's leaves if what ours on their way set is taken away.
  [[nodiscard]] std::optional<Record> apart_from_ours(const Record& record) const;

  /// Ours up to `recno` have come back.
  void forget(std::uint64_t recno);

 private:
  struct Object {
    std::uint64_t last = 0;                             ///< Our last record about it.
    std::map<std::uint32_t, std::uint64_t> newest;      ///< IZO_ATTR_*: our last one that sets it.
    std::map<std::string, std::uint64_t> newest_xattr;  ///< The same by name; not of ACLs.
    std::set<std::string> acls;                         ///< Names of those that ours are about.
    bool contested = false;
  };
  /// What was sent: of a log that is read as a whole there are many.
  struct Sent {
    Fid object;
    kml::Op op;
    std::optional<kml::Attr> attr;
    std::vector<kml::Xattr> xattrs;
  };
  /// Without what records of ours behind that number set; nullopt: then nothing is left.
  static std::optional<Record> without(Record record, const Object& object, std::uint64_t recno);

  std::unordered_map<Fid, Object> objects_;
  std::map<std::uint64_t, Sent> sent_;  // by number
};

}  // namespace izo::repl
