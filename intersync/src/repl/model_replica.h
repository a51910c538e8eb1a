// SPDX-License-Identifier: GPL-2.0
// A replica in memory, with the rules of the kernel's (docs/reintegration.md): for the simulation.
// Its users' changes go through the functions below `local`; a power cut takes what is not
// committed.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "repl/replica.h"

namespace izo::repl {

struct ModelBody final : Body {
  explicit ModelBody(std::string contents) : text(std::move(contents)) {}
  std::string text;
};

/// The one name of an ACL that the model knows.
inline constexpr const char* kAcl = "system.posix_acl_access";

class ModelReplica final : public Replica {
 public:
  struct Inode {
    std::uint32_t generation = 0;
    Fid fid;
    std::uint32_t mode = 0;
    std::uint32_t uid = 0;
    std::uint32_t nlink = 0;
    std::int64_t mtime = 0;
    std::uint32_t flags = 0;  // FS_IMMUTABLE_FL: only users change it or what is in it
    std::string text;
    std::map<std::string, std::string> xattrs;
    std::map<std::string, std::uint64_t> entries;
    bool dirty = false;
    std::uint64_t closed = 0;  // its last CLOSE
    std::uint64_t seen = 0;
  };
  struct Disk {
    std::map<std::uint64_t, Inode> inodes;
    std::uint64_t next_ino = 2;
    std::vector<Record> log;
    std::vector<Uuid> table;
    std::map<Uuid, Received> received;
  };

  /// `clock` is common to all replicas, and goes on with every change; `late` is how much less this
  /// replica's own says.
  ModelReplica(std::uint8_t number, bool server,
               std::shared_ptr<std::int64_t> clock = std::make_shared<std::int64_t>(1000),
               std::int64_t late = 0);

  State state() override;
  void use(const Index& /*index*/) override {}
  void commit() override;
  Records read(std::uint64_t offset) override;
  std::uint16_t index_of(const Uuid& replica) override;
  std::optional<Received> received(const Uuid& peer) override;
  void set_received(const Uuid& peer, const Received& position) override;
  void look_up(const Record& record) override { looked_up_ = record.object; }
  std::vector<Result> apply(const Batch& batch) override;
  std::vector<Fid> walk(const Fid& top, const std::function<void(const Found&)>& visit) override;
  std::optional<Portrait> portrait(const Fid& fid) override;
  Reading read_body(const Name& name, const Handle& handle) override;
  Kept keep_copy(const Name& name, const Body& body, const Name& like) override;
  bool move(const Handle& what, const Name& from, const Name& to) override;
  bool add_name(const Handle& what, const Name& from, const Name& to) override;
  bool remove(const Handle& what, const Name& name) override;
  std::optional<kml::Time> mtime(const Fid& fid) override;
  void set_mtime(const Fid& dir, const kml::Time& mtime) override;
  std::vector<std::string> list(const Fid& dir) override;

  // What users do; false if the file system refuses. Paths by inode number of the directory.

  struct Place {
    std::uint64_t dir = 0;
    std::string name;

    auto operator<=>(const Place&) const = default;
  };
  bool make(kml::Op op, const Place& place, std::uint32_t permissions);
  bool link(std::uint64_t ino, const Place& place);
  bool unlink(const Place& place);
  bool rename(const Place& from, const Place& to, bool exchange);
  bool chmod(std::uint64_t ino, std::uint32_t permissions);
  bool chown(std::uint64_t ino, std::uint32_t uid);
  bool utimes(std::uint64_t ino, std::int64_t mtime);
  bool setxattr(std::uint64_t ino, const std::string& name, const std::string& value);
  /// FS_*_FL; a symbolic link has none.
  void chattr(std::uint64_t ino, std::uint32_t flags);
  bool removexattr(std::uint64_t ino, const std::string& name);
  /// Begins to change a body; what it was is not there any more.
  bool begin_write(std::uint64_t ino, const std::string& text);
  void end_write(std::uint64_t ino);

  /// Back to what was committed; files that were being written get a CLOSE.
  void cut_power();
  /// A name goes, and nothing says so.
  void lose(const std::string& name);
  /// As if all that is here had been before the log began. Before anybody looks at it.
  void forget_log();
  /// Its log has the records up to that one no more.
  void trim(std::uint64_t recno) { trimmed_ = recno; }
  /// What its medium has, and that once more, as from a backup.
  [[nodiscard]] const Disk& disk() const { return committed_; }
  void put_back(const Disk& disk) { disk_ = committed_ = disk; }

  [[nodiscard]] std::vector<std::uint64_t> inodes() const;
  [[nodiscard]] std::vector<Place> places() const;
  [[nodiscard]] std::vector<std::uint64_t> directories() const;
  [[nodiscard]] std::vector<std::uint64_t> dirty() const;
  /// 0: nothing is there.
  [[nodiscard]] std::uint64_t ino_at(const Place& place) const { return at(place); }
  [[nodiscard]] std::string text_of(std::uint64_t ino) const;
  [[nodiscard]] bool is_file(std::uint64_t ino) const;
  /// Texts of all files.
  [[nodiscard]] std::set<std::string> texts() const;
  /// The whole tree, a line an object: equal on replicas that have the same.
  [[nodiscard]] std::string manifest(bool with_directory_times) const;
  /// Texts that users saw and removed or replaced.
  std::set<std::string> discarded;
  /// Called before each change that the engine makes; may throw, as if its daemon was killed.
  std::function<void()> before_change = [] {};
  /// Says which records the file system refuses.
  std::function<bool(const Record&)> refuses = [](const Record&) { return false; };
  /// Says of which records that are applied the file system does not take all attributes.
  std::function<bool(const Record&)> takes_part = [](const Record&) { return false; };
  /// Called before each directory that a walk reads.
  std::function<void()> amid_walk = [] {};
  /// Called between the birth of a file and its body in one batch: only users come between.
  std::function<void()> before_body = [] {};
  /// Says which objects are not found although they are here, as if they moved just now.
  std::function<bool(const Fid&)> is_on_its_way = [](const Fid&) { return false; };
  /// Says which files are open for writing, but not changed.
  std::function<bool(const Fid&)> is_open = [](const Fid&) { return false; };
  /// Says which objects apply() finds only if they were looked up just before.
  std::function<bool(const Fid&)> is_cold = [](const Fid&) { return false; };
  /// It takes no change of the engine's own.
  bool is_full = false;
  /// Peers that it has room for.
  std::size_t most_peers = SIZE_MAX;
  /// Says which files cannot be opened now, as somebody has a lease on them.
  std::function<bool(const Fid&)> is_leased = [](const Fid&) { return false; };

 private:
  struct Outcome {
    std::uint32_t code = 0;
    std::uint64_t ino = 0;
  };
  static constexpr std::uint64_t kRoot = 2;
  static kml::Time time_of(std::int64_t seconds) { return {.seconds = seconds, .nanoseconds = 0}; }

  void begin_change();
  Inode& inode(std::uint64_t ino) { return disk_.inodes.at(ino); }
  [[nodiscard]] std::uint64_t ino_of(const Fid& fid) const;
  /// Its directory is touched now.
  [[nodiscard]] kml::Place place_of(const Place& place);
  /// As place_of(), for the record of a peer: the newest of its names.
  void raise(kml::Place& place);
  [[nodiscard]] std::uint64_t at(const Place& place) const;
  [[nodiscard]] bool stands_for(const Place& place, const Handle& what) const;
  [[nodiscard]] bool is_within(std::uint64_t dir, std::uint64_t above) const;
  Record& log(kml::Op op, std::uint64_t ino, std::uint32_t aspects);
  [[nodiscard]] std::int64_t now() { return ++*clock_ - late_; }
  void drop(std::uint64_t ino, bool by_user);
  void give(std::uint64_t ino, const Place& place);
  void take(const Place& place, bool by_user);

  Outcome find(const Ref& ref, const std::vector<std::uint64_t>& made) const;
  Outcome apply_one(const Operation& operation, const std::vector<std::uint64_t>& made,
                    const Batch& batch, std::size_t own_from);
  /// The same, with the object, unless it is born, and the directory that it is about.
  Outcome apply_found(const Operation& operation, std::uint64_t ino, std::uint64_t dir,
                      const std::vector<std::uint64_t>& made);
  Outcome apply_birth(const Operation& operation, std::uint64_t dir);
  Outcome apply_removal(std::uint64_t ino, const Place& place);
  Outcome apply_attributes(const Record& record, std::uint64_t ino);
  Outcome apply_rename(const Operation& operation, std::uint64_t ino, std::uint64_t dir,
                       std::uint64_t to, const std::vector<std::uint64_t>& made);
  Outcome apply_close(const Operation& operation, std::uint64_t ino,
                      const std::vector<std::uint64_t>& made);
  /// Records in our log what was applied of a peer's; its number there, 0 if it is no change.
  std::uint64_t forward(Record record);
  [[nodiscard]] bool changed(const Record& record, const Batch& batch, std::size_t own_from) const;

  Uuid self_{};
  bool server_;
  std::shared_ptr<std::int64_t> clock_;
  std::int64_t late_;
  Disk disk_;
  Disk committed_;
  std::optional<Fid> looked_up_;
  std::uint64_t trimmed_ = 0;  // number of the last record that is not kept any more
  std::uint64_t records_made_ =
      0;  // the clock by which records are made: it is no part of the disk
};

}  // namespace izo::repl
