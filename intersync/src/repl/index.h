// SPDX-License-Identifier: GPL-2.0
// Which objects a replica has: their handles, and all their names. Pure.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "repl/replica.h"

namespace izo::repl {

struct NameHash {
  std::size_t operator()(const Name& name) const noexcept {
    return std::hash<Fid>{}(name.dir) * 31 ^ std::hash<std::string>{}(name.name);
  }
};

/// In order. A file may have tens of thousands.
class Names : public std::set<Name> {
 public:
  using std::set<Name>::set;
  [[nodiscard]] const Name& front() const { return *begin(); }
};

struct Object {
  Handle handle;
  std::uint32_t type = 0;  ///< S_IFMT of its mode.
  Names names;

  bool operator==(const Object&) const = default;
};

class Index {
 public:
  /// An object or one more name of it, as found in the tree.
  void add(const Found& found);

  /// What a record changed. `made`: of a birth or a new body, the inode here; else the FID's own.
  void apply(const Record& record, const std::optional<Handle>& made);

  /// The inode of an object has become another.
  void set_handle(const Fid& fid, const Handle& handle);

  /// Null if it is not here. The root is not in the index.
  [[nodiscard]] const Object* find(const Fid& fid) const;
  [[nodiscard]] std::optional<Fid> at(const Name& name) const;
  [[nodiscard]] bool has_name(const Fid& fid, const Name& name) const;
  /// Is it the root, or a directory that is here?
  [[nodiscard]] bool has_directory(const Fid& fid) const;
  [[nodiscard]] const std::unordered_map<Name, Fid, NameHash>& names() const { return names_; }
  /// The directories that lie above it, from its parent to the root.
  [[nodiscard]] std::vector<Fid> above(const Fid& dir) const;

  /// How one comes to a directory: what to open one after the other, ".." among it.
  struct Way {
    bool from_root = true;
    std::vector<std::string> steps;
  };
  /// By few steps, from another directory or from the root, and found in as little time. Nullopt:
  /// no names lead there.
  [[nodiscard]] std::optional<Way> way(const Fid& from, const Fid& to) const;

  /// How the kernel finds an object; one that is not here gives an empty reference.
  [[nodiscard]] Ref ref(const Fid& fid) const;
  /// A directory with a name in it.
  [[nodiscard]] Ref ref(const Name& name) const;

  /// A replica's index in FIDs, for the digest; before objects that it made come in.
  void know(std::uint16_t index, const Uuid& replica);
  /// Of which object has which names: equal on replicas where that is so, whatever their indices.
  /// Wrong with a chance of 2^-64.
  [[nodiscard]] std::uint64_t digest() const { return digest_; }

  /// From here on changes can be taken back.
  void begin();
  /// How many changes there were since.
  [[nodiscard]] std::size_t mark() const { return journal_.size(); }
  void roll_back(std::size_t mark);
  void end();

  bool operator==(const Index& other) const { return objects_ == other.objects_; }

 private:
  struct Change {
    Fid fid;
    std::optional<Object> object;  ///< Its names are changes of their own.
    std::optional<Name> name;      ///< Then it is about the name, and was this object's.
    std::optional<Fid> owner;
  };
  [[nodiscard]] std::uint64_t hash_of(const Name& name, const Fid& fid) const;
  [[nodiscard]] const Name* name_of_directory(const Fid& fid) const;
  void set(const Fid& fid, const std::optional<Object>& object);
  void own(const Name& name, std::optional<Fid> owner);
  void give(const Fid& fid, const Name& name);
  void take(const Fid& fid, const Name& name);
  void put(const Fid& fid, const std::optional<Object>& object, const Name& name);
  void exchange(const Fid& one, const Name& from, const Fid& other, const Name& to);

  std::unordered_map<Fid, Object> objects_;
  std::unordered_map<Name, Fid, NameHash> names_;
  std::vector<std::uint64_t> seeds_;  // for each replica's index
  std::uint64_t digest_ = 0;          // all entries' hashes, exclusive or
  std::vector<Change> journal_;
  bool journaling_ = false;
};

}  // namespace izo::repl
