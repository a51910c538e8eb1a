// SPDX-License-Identifier: GPL-2.0
// What the engine needs of a replica: the kernel's file system in the daemon, a model in the
// simulation. FIDs in here have the replica's own indices, but where a peer's are named.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "kml/record.h"
#include "kml/tables.h"

namespace izo::repl {

using kml::Fid;
using kml::Record;
using kml::Uuid;

/// A name in a directory.
struct Name {
  Fid dir;
  std::string name;

  auto operator<=>(const Name&) const = default;
};

/// An inode: by its number and generation; or what the operation `result` of the batch makes.
struct Handle {
  std::uint64_t ino = 0;
  std::uint32_t generation = 0;
  std::optional<std::uint32_t> result;

  bool operator==(const Handle&) const = default;
};

/// How far a peer's log has been applied.
struct Received {
  std::uint64_t epoch = 0;
  std::uint64_t recno = 0;
  std::uint64_t offset = 0;
  /// Not all of what was in the peer's tree there is here: it is being copied.
  bool partial = false;

  bool operator==(const Received&) const = default;
};

/// A whole body that is ready to be installed or sent; whose it is, its maker knows.
class Body {
 public:
  Body() = default;
  Body(const Body&) = delete;
  Body& operator=(const Body&) = delete;
  virtual ~Body() = default;

  /// False: no file can be so large here, and nothing of it is.
  [[nodiscard]] virtual bool fits() const { return true; }
};

/// An object for an operation: none (handle.ino 0 and no result), the root, or a handle with a
/// name by which it can be found.
struct Ref {
  bool root = false;
  Handle handle;
  bool parent_is_root = false;
  Handle parent;
  std::string name;
};

/// What became of a record when it was not applied. Stored with the position; above IZO_REINT_*.
enum class Passed : std::uint32_t {
  kEcho = 256,        ///< It was made here.
  kSuperseded = 257,  ///< A later record has what it says.
  kGone = 258,        ///< Its object was removed here.
  kAlready = 259,     ///< It is so here.
  kConflict = 260,    ///< It lost; its body, if it has one, was kept as a copy.
  kNotHere = 261,     ///< This machine's own name, or something is mounted there.
  kRefused = 262,     ///< The cache cannot take it.
};

/// One record with what it is about here.
struct Operation {
  Record record;  ///< Replica indices are this replica's; number, offset and epoch the peer's.
  std::optional<Passed> skip;
  Ref object;
  Ref dir;
  Ref to;
  Ref replaced;
  std::shared_ptr<Body> body;  ///< Of a CLOSE.
  std::vector<Ref> names;      ///< Of a CLOSE: a directory and a name in it, each.
};

/// What the kernel said of an operation: IZO_REINT_* and more.
struct Result {
  std::uint32_t code = 0;
  int error = 0;
  Handle handle;
  std::uint64_t recno = 0;

  /// Is its outcome stored?
  [[nodiscard]] bool stored() const { return code < 16; }
};

struct Batch {
  enum class Kind {
    kLog,        ///< Records of the peer's log, one after the other.
    kForwarded,  ///< The same, and others learn of them from here: they are recorded in our log.
    kSml,        ///< They make what the peer's tree has, in no order, and move no position, which
                 ///< must be partial.
  };
  Uuid peer{};
  std::uint64_t epoch = 0;
  Kind kind = Kind::kLog;
  std::uint64_t decided = 0;  ///< Offset in our log.
  std::vector<Operation> operations;
};

/// An object as a walk of the tree finds it.
struct Found {
  Fid fid;
  Handle handle;
  std::uint32_t mode = 0;
  Name name;
};

/// What an object is, besides its names and what is in it.
struct Portrait {
  kml::Attr attr;                     ///< What it has; of a file the size too.
  std::optional<std::string> target;  ///< Of a symbolic link.
  std::vector<kml::Xattr> xattrs;     ///< ACLs among them; not what identifies it.
  bool xattrs_cut = false;            ///< There are more, but not to be had.
  bool changing = false;              ///< Of a file: its body has changed, and no CLOSE says so.
};

/// What stands in our log where a record is looked for is none.
class NoRecord : public Error {
 public:
  using Error::Error;
};

/// There are positions of as many peers as there is room for.
class NoRoom : public Error {
 public:
  using Error::Error;
};

/// The file system takes no change now, whatever it is: it is full, or read-only.
class Full : public Error {
 public:
  using Error::Error;
};

/// The tree, its log and the positions of one fileset. Functions throw izo::Error (SysError) if the
/// file system fails.
class Replica {
 public:
  Replica() = default;
  Replica(const Replica&) = delete;
  Replica& operator=(const Replica&) = delete;
  virtual ~Replica() = default;

  struct State {
    Uuid replica{};
    std::vector<Uuid> table;  ///< Replica with index K + 1 at K.
    std::uint16_t self = 0;
    std::uint64_t epoch = 0;
    std::uint64_t first = 0;        ///< Offset of the oldest record.
    std::uint64_t first_recno = 0;  ///< Its number.
    std::uint64_t end = 0;          ///< Offset behind the newest record, on the medium or not.
  };
  virtual State state() = 0;

  /// Where objects are: for the functions below that get FIDs. Said once, before any of them;
  /// lives longer.
  virtual void use(const class Index& index) = 0;

  /// Brings the log onto the medium.
  virtual void commit() = 0;

  struct Records {
    std::vector<Record> records;
    std::uint64_t next = 0;  ///< Offset of what comes behind them.
  };
  /// Records of our log that are on the medium, from `offset` on, some. Throws NoRecord.
  virtual Records read(std::uint64_t offset) = 0;

  /// Our index of a replica, which is made known if it is not.
  virtual std::uint16_t index_of(const Uuid& replica) = 0;

  virtual std::optional<Received> received(const Uuid& peer) = 0;
  /// Throws NoRoom.
  virtual void set_received(const Uuid& peer, const Received& position) = 0;

  /// Looks up what a record names where the index has it, so that the next apply() finds it there:
  /// not all file systems tell the kernel by a number where an object is.
  virtual void look_up(const Record& record) = 0;

  /// As IZO_IOC_REINT: results of what was done, and of the one that ended the batch.
  virtual std::vector<Result> apply(const Batch& batch) = 0;

  /// Calls for every object and name below a directory, directories before what is in them. Returns
  /// those that were not where the index has them by then: what is in them was not told.
  virtual std::vector<Fid> walk(const Fid& top, const std::function<void(const Found&)>& visit) = 0;

  /// Of an object, or the root; nullopt: it is not where the index has it any more, or cannot be
  /// read.
  virtual std::optional<Portrait> portrait(const Fid& fid) = 0;

  struct Reading {
    std::shared_ptr<Body> body;
    bool changing = false;  ///< It is being changed, or was and its CLOSE is not written yet.
    bool not_now =
        false;  ///< Somebody has it for himself (a lease), and was asked to give it back.
  };
  /// The body as it is, on the medium; neither if the name does not stand for that file any more.
  virtual Reading read_body(const Name& name, const Handle& handle) = 0;

  // Changes like anybody's, recorded in our log; for what does not fit. They do nothing, and say
  // false, if the name does not stand for the object `what` any more. They throw Full.

  enum class Kept {
    kDone,       ///< Or done before: a file of that name has that body.
    kTaken,      ///< The name stands for something else.
    kForbidden,  ///< The directory takes no such file, whoever asks: it is immutable, or the like.
    kNot,        ///< The directory is not there.
  };
  /// A new file with that body, and owner, mode and time of the file `like`, if that is there.
  virtual Kept keep_copy(const Name& name, const Body& body, const Name& like) = 0;
  /// Gives an object another name; false also if that is taken.
  virtual bool move(const Handle& what, const Name& from, const Name& to) = 0;
  /// Gives a file one more name; false as move().
  virtual bool add_name(const Handle& what, const Name& from, const Name& to) = 0;
  /// Removes a name; of a directory, if that is empty.
  virtual bool remove(const Handle& what, const Name& name) = 0;
  /// An object's modification time; nullopt: it is not where it was any more.
  virtual std::optional<kml::Time> mtime(const Fid& fid) = 0;
  /// Sets a directory's modification time, recorded even if it has it.
  virtual void set_mtime(const Fid& dir, const kml::Time& mtime) = 0;
  /// Names in a directory.
  virtual std::vector<std::string> list(const Fid& dir) = 0;
};

}  // namespace izo::repl
