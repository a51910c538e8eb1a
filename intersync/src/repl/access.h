// SPDX-License-Identifier: GPL-2.0
// What records read and write, and so whether two of them conflict. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "repl/index.h"
#include "repl/replica.h"

namespace izo::repl {

/// An aspect of an object, one of its extended attributes, or a name in a directory.
struct Key {
  Fid fid;                   ///< The object, or the directory.
  std::uint32_t aspect = 0;  ///< One IZO_ASPECT_* bit; 0: the name.
  std::string name;          ///< Of the attribute, or in the directory.

  bool operator==(const Key&) const = default;
};

inline Key key_of(const Fid& fid, std::uint32_t aspect) {
  return {.fid = fid, .aspect = aspect, .name = {}};
}

inline Key key_of(const Name& name) {
  return {.fid = name.dir, .aspect = 0, .name = name.name};
}

inline Key key_of(const kml::Place& place) {
  return {.fid = place.dir, .aspect = 0, .name = place.name};
}

struct KeyHash {
  std::size_t operator()(const Key& key) const noexcept {
    return std::hash<Fid>{}(key.fid) ^ std::hash<std::string>{}(key.name) * 31 ^ key.aspect;
  }
};

struct Access {
  std::vector<Key> writes;
  std::vector<Key> reads;
};

/// Of one record. `index`: the tree, for what lies above the target of a directory's rename.
Access access_of(const Record& record, const Index& index);

/// Who touched what last.
class History {
 public:
  void add(const Record& record, const Access& access);

  /// The number of the last record of anybody but `origin` that wrote it; 0: none.
  [[nodiscard]] std::uint64_t written_at(const Key& key, std::uint16_t origin) const;
  /// Has anybody but `origin` done something after record `seen` that this conflicts with? Numbers
  /// are those of the log whose records were added.
  [[nodiscard]] bool conflicts(const Access& access, std::uint16_t origin,
                               std::uint64_t seen) const;
  /// The same for one key that is written.
  [[nodiscard]] bool written_since(const Key& key, std::uint16_t origin, std::uint64_t seen) const;

  /// Forgets records up to `recno`.
  void forget(std::uint64_t recno);
  [[nodiscard]] std::size_t size() const { return last_.size(); }

 private:
  /// The last record, and the last one of another origin than that.
  struct Last {
    std::uint64_t recno = 0;
    std::uint16_t origin = 0;
    std::uint64_t other_recno = 0;

    void add(std::uint64_t new_recno, std::uint16_t new_origin);
    [[nodiscard]] std::uint64_t by_others(std::uint16_t mine) const {
      return origin == mine ? other_recno : recno;
    }
  };
  struct Entry {
    Last written;
    Last read;
  };
  std::unordered_map<Key, Entry, KeyHash> last_;
};

}  // namespace izo::repl
