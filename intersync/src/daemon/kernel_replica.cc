// SPDX-License-Identifier: GPL-2.0
#include "daemon/kernel_replica.h"

#include <fcntl.h>
#include <linux/intermezzo_reint.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "base/fs_at.h"
#include "base/log.h"
#include "daemon/batch_form.h"
#include "daemon/portrait.h"
#include "kernel/object.h"
#include "kml/received.h"
#include "kml/stream_reader.h"
#include "kml/tables.h"

namespace izo::daemon {

using kernel::look_at;
using kernel::Object;
using repl::Handle;
using repl::Name;

namespace {

/// Bytes of the log that are read at once, and of a body.
constexpr std::size_t kPiece = std::size_t{1} << 18;
/// Directories that are held for a batch: those of all names that a new body may take, and more.
constexpr std::size_t kMostAtHand = IZO_REINT_NAMES_MAX + 4;
/// The longest table that is read.
constexpr std::size_t kLongestTable = std::size_t{64} << 20;

bool is(const Object& object, const Handle& what) {
  return object.ino == what.ino && object.generation == what.generation;
}

/// A change of ours failed.
[[noreturn]] void fail(const SysError& error) {
  switch (error.code()) {
    case ENOSPC:
    case EDQUOT:
    case EROFS:
      throw repl::Full(error.what());
    default:
      throw error;
  }
}

/// Did a change of ours fail because the tree is not as it was? Else throws.
bool changed_meanwhile(std::string_view call, const std::string& name) {
  switch (errno) {
    case EEXIST:
    case ENOENT:
    case ENOTEMPTY:
    case ENOTDIR:
    case EISDIR:
    case EBUSY:
    case EINVAL:
    case EMLINK:
    case EPERM:
    case EXDEV:
      return true;
    default:
      fail(SysError(errno, call, name));
  }
}

/// Of a directory in which a copy could not be made or named.
repl::Replica::Kept why_not_kept(std::string_view call, const std::string& name) {
  switch (errno) {
    case EEXIST:
      return repl::Replica::Kept::kTaken;
    case EACCES:
    case EINVAL:
    case ENAMETOOLONG:
    case ENOKEY:
    case EPERM:
    case EXDEV:
      return repl::Replica::Kept::kForbidden;
    default:
      changed_meanwhile(call, name);
      return repl::Replica::Kept::kNot;
  }
}

/// A structure as bytes, to be sent or filled.
template <typename T>
void ask(int fd, unsigned long command, T& value, std::string_view what) {
  checked(::ioctl(fd, command, &value), what);
}

bool have_same_bytes(const BodyFile& body, int file, std::uint64_t size) {
  if (body.size() != size) {
    return false;
  }
  const auto other = BodyFile::staged(
      UniqueFd(checked(::fcntl(file, F_DUPFD_CLOEXEC, 0), "fcntl", "a file")), size);
  std::vector<std::byte> one(kPiece);
  std::vector<std::byte> two(kPiece);
  for (std::uint64_t at = 0; at < size;) {
    // What stands before it is a hole in both.
    const auto [begin, end] = std::min(body.stretch(at, kPiece), other->stretch(at, kPiece));
    const std::size_t part = end - begin;
    body.read(begin, std::span(one).first(part));
    other->read(begin, std::span(two).first(part));
    if (std::memcmp(one.data(), two.data(), part) != 0) {
      return false;
    }
    at = end;
  }
  return true;
}

void copy_bytes(const BodyFile& body, int file) {
  StagedBody out(UniqueFd(checked(::fcntl(file, F_DUPFD_CLOEXEC, 0), "fcntl", "a file")));
  std::vector<std::byte> buffer(kPiece);
  for (std::uint64_t at = 0; at < body.size();) {
    const auto [begin, end] = body.stretch(at, kPiece);
    const auto part = std::span(buffer).first(end - begin);
    body.read(begin, part);
    out.skip(begin - at);
    out.write(part);
    at = end;
  }
  out.end();
}

/// Gives a new file owner, mode and time of another. What the directory would let others do is not
/// what that file lets them.
void imitate(int file, const struct stat& like) {
  if (::fremovexattr(file, "system.posix_acl_access") != 0 && errno != ENODATA &&
      errno != ENOTSUP) {
    throw SysError(errno, "removexattr", "a conflict copy");
  }
  checked(::fchown(file, like.st_uid, like.st_gid), "chown", "a conflict copy");
  checked(::fchmod(file, like.st_mode & 07777), "chmod", "a conflict copy");
  const std::array<timespec, 2> times{like.st_atim, like.st_mtim};
  checked(::futimens(file, times.data()), "utimes", "a conflict copy");
}

__u32 flags_of(repl::Batch::Kind kind) {
  switch (kind) {
    case repl::Batch::Kind::kForwarded:
      return IZO_REINT_FORWARD;
    case repl::Batch::Kind::kSml:
      return IZO_REINT_SML;
    case repl::Batch::Kind::kLog:
      break;
  }
  return 0;
}

/// Is it an error of one object that is being changed, and not where it was?
bool moves_about(const SysError& error) {
  switch (error.code()) {
    case ENOENT:
    case ENOTDIR:
    case ESTALE:
    case ELOOP:
    case ENXIO:
      return true;
    default:
      return false;
  }
}

void touch(int directory, const timespec& mtime) {
  const std::array<timespec, 2> times{timespec{.tv_sec = 0, .tv_nsec = UTIME_OMIT}, mtime};
  if (::futimens(directory, times.data()) != 0) {
    changed_meanwhile("utimes", "a directory");
  }
}

struct Opened {
  std::optional<UniqueFd> file;  ///< Nullopt: it is no file of that name, or not to be had now.
  bool not_now = false;          ///< Somebody has a lease, which was asked back.
};

Opened open_file(int directory, const std::string& name) {
  const int fd =
      ::openat(directory, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOATIME | O_CLOEXEC);
  if (fd < 0 && (errno == ENOENT || errno == ELOOP || errno == ENXIO || errno == EAGAIN)) {
    return {.file = {}, .not_now = errno == EAGAIN};
  }
  return {.file = UniqueFd(checked(fd, "open", name))};
}

repl::Replica::Reading read_body_of(int directory, const std::string& name, const Handle& handle) {
  auto [file, not_now] = open_file(directory, name);
  if (not_now) {
    return {.body = nullptr, .not_now = true};
  }
  const std::optional<Object> object = file ? look_at(file->get()) : std::nullopt;
  if (!object || !is(*object, handle) || !S_ISREG(object->mode)) {
    return {};
  }
  if (object->changing) {
    return {.body = nullptr, .changing = true};
  }
  struct stat st{};
  checked(::fstat(file->get(), &st), "stat", name);
  if (object->listed) {
    checked(::fdatasync(file->get()), "fdatasync", name);
  }
  return {.body = BodyFile::live(*std::move(file), static_cast<std::uint64_t>(st.st_size),
                                 object->body_changes)};
}

}  // namespace

KernelReplica::KernelReplica(const kernel::Fileset& fileset, Role role)
    : fileset_(fileset), role_(role), tree_(fileset.mount_point), log_(fileset) {
  look_at_peers();
}

std::string KernelReplica::path_of(const std::string& file) const {
  return fileset_.directory() + "/" + file;
}

void KernelReplica::look_at_peers() {
  const UniqueFd folder = izo::open_directory(fileset_.directory());
  const std::string table = read_file(folder.get(), "replicas", kLongestTable).value_or("");
  kml::DecodedReplicas decoded = kml::decode_replicas(as_bytes(table));
  if (const auto* fault = std::get_if<kml::Corrupt>(&decoded)) {
    throw Error(path_of("replicas") + ": " + fault->what);
  }
  table_ = std::get<kml::Replicas>(std::move(decoded)).members;
  const std::string slots = read_file(folder.get(), "last_rcvd", kLongestTable).value_or("");
  kml::DecodedReceived received = kml::decode_received(as_bytes(slots));
  if (const auto* fault = std::get_if<kml::Corrupt>(&received)) {
    throw Error(path_of("last_rcvd") + ": " + fault->what);
  }
  most_received_ = slots.size() / IZO_RCVD_COPIES / sizeof(izo_rcvd_slot);
  for (const kml::ReceivedSlot& slot : std::get<std::vector<kml::ReceivedSlot>>(received)) {
    received_[slot.replica] = {.epoch = slot.epoch,
                               .recno = slot.recno,
                               .offset = slot.offset,
                               .partial = (slot.flags & IZO_RCVD_PARTIAL) != 0};
  }
}

repl::Replica::State KernelReplica::state() {
  const kernel::LogInfo info = log_.info();
  if (info.failed) {
    throw Error(path_of("kml") +
                ": the log met an error, and the file system is read-only: the kernel's log says "
                "what to do");
  }
  if (info.overflow) {
    throw Error(
        path_of("kml") +
        ": the log has overflowed and does not tell all changes; nothing is shared until "
        "a client is made anew by mkizofs, or a server's log begins anew: see intersync(8)");
  }
  return {.replica = info.replica,
          .table = table_,
          .self = info.self,
          .epoch = info.epoch,
          .first = info.first,
          .first_recno = info.first_recno,
          .end = info.end};
}

void KernelReplica::commit() {
  log_.commit();
  log::debug(log::kKml, "log committed");
}

repl::Replica::Records KernelReplica::read(std::uint64_t offset) {
  // The log is read when something has changed: a directory may have been removed.
  tree_.let_go();
  Records out{.records = {}, .next = offset};
  std::vector<std::byte> buffer(kPiece);
  kml::StreamReader reader(kml::Position{.epoch = log_.info().epoch, .offset = offset, .recno = 0});
  for (std::uint64_t at = offset; out.records.empty();) {
    const auto got = log_.read(at, buffer);
    if (std::holds_alternative<kernel::LogFile::Trimmed>(got)) {
      throw Error(path_of("kml") + ": the records from offset " + std::to_string(offset) +
                  " on are not kept any more");
    }
    const std::size_t size = std::get<std::size_t>(got);
    if (size == 0) {
      return out;
    }
    at += size;
    reader.feed(Bytes(buffer).first(size));
    for (;;) {
      kml::StreamReader::Next next = reader.next();
      if (const auto* fault = std::get_if<kml::Corrupt>(&next)) {
        throw repl::NoRecord(path_of("kml") + " at offset " +
                             std::to_string(reader.position().offset) + ": " + fault->what);
      }
      auto* record = std::get_if<kml::Record>(&next);
      if (record == nullptr) {
        break;
      }
      out.next = record->offset + record->length;
      out.records.push_back(std::move(*record));
    }
  }
  log::debug(log::kKml, "records ", out.records.front().recno, "..", out.records.back().recno,
             " from offset ", offset);
  return out;
}

std::uint16_t KernelReplica::index_of(const kml::Uuid& replica) {
  const auto known = std::find(table_.begin(), table_.end(), replica);
  if (known != table_.end()) {
    return static_cast<std::uint16_t>(known - table_.begin() + 1);
  }
  izo_position position{};
  position.version = IZO_REINT_VERSION;
  std::copy(replica.begin(), replica.end(), std::begin(position.replica));
  ask(tree_.root(), IZO_IOC_REINT_POSITION, position, "ioctl IZO_IOC_REINT_POSITION");
  look_at_peers();
  return position.index;
}

std::optional<repl::Received> KernelReplica::received(const kml::Uuid& peer) {
  const auto found = received_.find(peer);
  return found != received_.end() ? std::optional(found->second) : std::nullopt;
}

void KernelReplica::set_received(const kml::Uuid& peer, const repl::Received& position) {
  izo_position raw{};
  raw.version = IZO_REINT_VERSION;
  raw.flags = (role_ == Role::kClient ? IZO_POSITION_UPSTREAM : 0U) |
              (position.partial ? IZO_POSITION_PARTIAL : 0U);
  std::copy(peer.begin(), peer.end(), std::begin(raw.replica));
  raw.epoch = position.epoch;
  raw.recno = position.recno;
  raw.offset = position.offset;
  try {
    ask(tree_.root(), IZO_IOC_REINT_POSITION, raw, "ioctl IZO_IOC_REINT_POSITION");
  } catch (const SysError& error) {
    look_at_peers();
    if (error.code() == ENOSPC && received_.size() >= most_received_) {
      throw repl::NoRoom(error.what());
    }
    throw;
  }
  look_at_peers();
}

void KernelReplica::look_up(const kml::Record& record) {
  at_hand_.clear();
  const auto hold_directory = [this](const kml::Fid& fid) {
    if (at_hand_.size() == kMostAtHand) {
      return;
    }
    if (UniqueFd directory = open_directory(fid)) {
      at_hand_.push_back(std::move(directory));
    }
  };
  const auto hold_object = [&](const kml::Fid& fid) {
    if (index_->has_directory(fid)) {
      hold_directory(fid);
    } else if (const repl::Object* object = index_->find(fid)) {
      for (const Name& name : object->names) {
        hold_directory(name.dir);
      }
    }
  };
  hold_object(record.object);
  for (const auto& place : {record.place, record.to, record.hint}) {
    if (place) {
      hold_directory(place->dir);
    }
  }
  if (record.replaced) {
    hold_object(record.replaced->fid);
  }
}

std::vector<repl::Result> KernelReplica::apply(const repl::Batch& batch) {
  const std::vector<std::byte> operations = operations_of(batch);
  std::vector<izo_reint_result> results(batch.operations.size());
  izo_reint raw{};
  raw.version = IZO_REINT_VERSION;
  raw.size = sizeof(raw);
  raw.flags = flags_of(batch.kind);
  raw.count = static_cast<__u32>(batch.operations.size());
  raw.ops = reinterpret_cast<std::uintptr_t>(operations.data());
  raw.bytes = static_cast<__u32>(operations.size());
  raw.results = reinterpret_cast<std::uintptr_t>(results.data());
  std::copy(batch.peer.begin(), batch.peer.end(), std::begin(raw.peer));
  raw.epoch = batch.epoch;
  raw.decided = batch.decided;
  tree_.let_go();
  const std::vector<UniqueFd> at_hand = std::exchange(at_hand_, {});
  ask(tree_.root(), IZO_IOC_REINT, raw, "ioctl IZO_IOC_REINT");
  results.resize(std::min<std::size_t>(raw.done + std::size_t{1}, results.size()));
  std::vector<repl::Result> out;
  for (std::size_t i = 0; i < results.size(); i++) {
    const izo_reint_result& one = results[i];
    out.push_back({.code = one.code,
                   .error = one.error,
                   .handle = {.ino = one.ino, .generation = one.generation, .result = {}},
                   .recno = one.recno});
    if (out.back().stored() && batch.kind != repl::Batch::Kind::kSml) {
      const kml::Record& record = batch.operations[i].record;
      repl::Received& position = received_[batch.peer];
      position.epoch = batch.epoch;
      position.recno = record.recno;
      position.offset = record.offset + record.length;
    }
  }
  return out;
}

std::vector<kml::Fid> KernelReplica::walk(const kml::Fid& top,
                                          const std::function<void(const repl::Found&)>& visit) {
  std::vector<kml::Fid> lost;
  // The last one first: it is near to the one before, however deep.
  std::vector<kml::Fid> due{top};
  while (!due.empty()) {
    const kml::Fid dir = due.back();
    due.pop_back();
    const UniqueFd directory = open_directory(dir);
    if (!directory) {
      lost.push_back(dir);
      continue;
    }
    for (const std::string& name : names_in(directory.get())) {
      const std::optional<Object> object = look_at(directory.get(), name);
      if (!object || object->local) {
        continue;
      }
      visit({.fid = object->fid,
             .handle = {.ino = object->ino, .generation = object->generation, .result = {}},
             .mode = object->mode,
             .name = {.dir = dir, .name = name}});
      if (S_ISDIR(object->mode)) {
        due.push_back(object->fid);
      }
    }
  }
  return lost;
}

UniqueFd KernelReplica::directory_of(const Name& name, const Handle& what) {
  UniqueFd directory = open_directory(name.dir);
  if (!directory) {
    return {};
  }
  const std::optional<Object> object = look_at(directory.get(), name.name);
  return object && is(*object, what) ? std::move(directory) : UniqueFd();
}

repl::Replica::Reading KernelReplica::read_body(const Name& name, const Handle& handle) {
  const UniqueFd directory = directory_of(name, handle);
  if (!directory) {
    return {};
  }
  try {
    Reading reading = read_body_of(directory.get(), name.name, handle);
    unreadable_.erase(handle.ino);
    return reading;
  } catch (const SysError& error) {
    // One that fails does not keep others from being read. It is asked for again and again.
    if (unreadable_.insert(handle.ino).second) {
      log::warning(error.what());
    }
    return {.body = nullptr, .not_now = true};
  }
}

repl::Replica::Kept KernelReplica::keep_copy(const Name& name, const repl::Body& body,
                                             const Name& like) {
  const auto& from = dynamic_cast<const BodyFile&>(body);
  const UniqueFd directory = open_directory(name.dir);
  if (!directory) {
    return Kept::kNot;
  }
  struct stat st{};
  const Opened there = open_file(directory.get(), name.name);
  if (there.not_now) {
    return Kept::kNot;
  }
  if (there.file) {
    checked(::fstat(there.file->get(), &st), "stat", name.name);
    return S_ISREG(st.st_mode) &&
                   have_same_bytes(from, there.file->get(), static_cast<std::uint64_t>(st.st_size))
               ? Kept::kDone
               : Kept::kTaken;
  }
  if (from.is_staged() && !from.has_name()) {
    // It is a file already, and only lacks a name.
    const Kept kept = name_copy(from.fd(), directory.get(), name.name, like);
    if (kept == Kept::kDone || kept == Kept::kTaken) {
      return kept;
    }
  }
  // There, as one that was made elsewhere may not be linked into it: it gives what is made in it a
  // project, or encrypts that.
  const UniqueFd copy(
      ::openat(directory.get(), ".", O_TMPFILE | O_RDWR | O_CLOEXEC, S_IRUSR | S_IWUSR));
  if (!copy) {
    return why_not_kept("open", name.name);
  }
  try {
    copy_bytes(from, copy.get());
    if (!from.is_whole()) {
      return Kept::kNot;
    }
  } catch (const SysError& error) {
    fail(error);
  }
  return name_copy(copy.get(), directory.get(), name.name, like);
}

repl::Replica::Kept KernelReplica::name_copy(int copy, int directory, const std::string& name,
                                             const Name& like) {
  struct stat st{};
  try {
    const UniqueFd model = open_directory(like.dir);
    if (model && ::fstatat(model.get(), like.name.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISREG(st.st_mode)) {
      imitate(copy, st);
    }
    checked(::fsync(copy), "fsync", name);
  } catch (const SysError& error) {
    fail(error);
  }
  if (::linkat(copy, "", directory, name.c_str(), AT_EMPTY_PATH) == 0) {
    return Kept::kDone;
  }
  return why_not_kept("link", name);
}

bool KernelReplica::move(const Handle& what, const Name& from, const Name& to) {
  const UniqueFd source = directory_of(from, what);
  const UniqueFd target = open_directory(to.dir);
  return source && target &&
         (::renameat2(source.get(), from.name.c_str(), target.get(), to.name.c_str(),
                      RENAME_NOREPLACE) == 0 ||
          !changed_meanwhile("rename", from.name));
}

bool KernelReplica::add_name(const Handle& what, const Name& from, const Name& to) {
  const UniqueFd source = directory_of(from, what);
  const UniqueFd target = open_directory(to.dir);
  return source && target &&
         (::linkat(source.get(), from.name.c_str(), target.get(), to.name.c_str(), 0) == 0 ||
          !changed_meanwhile("link", from.name));
}

bool KernelReplica::remove(const Handle& what, const Name& name) {
  const UniqueFd directory = directory_of(name, what);
  if (!directory) {
    return false;
  }
  struct stat st{};
  if (::fstatat(directory.get(), name.name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
    return !changed_meanwhile("stat", name.name);
  }
  return ::unlinkat(directory.get(), name.name.c_str(), S_ISDIR(st.st_mode) ? AT_REMOVEDIR : 0) ==
             0 ||
         !changed_meanwhile("unlink", name.name);
}

std::optional<repl::Portrait> KernelReplica::portrait(const kml::Fid& fid) {
  if (fid == kml::kRootFid) {
    repl::Portrait out = portrait_of(tree_.root());
    const std::optional<kernel::ObjectAndFlags> root = kernel::look_at_all(tree_.root());
    add_flags(root ? root->flags : std::nullopt, out.attr);
    return out;
  }
  const repl::Object* object = index_->find(fid);
  if (object == nullptr) {
    return std::nullopt;
  }
  const Name& name = object->names.front();
  try {
    const UniqueFd directory = directory_of(name, object->handle);
    if (!directory) {
      return std::nullopt;
    }
    const UniqueFd held = hold(directory.get(), name.name);
    repl::Portrait out = portrait_of(held.get());
    // Nothing that had the name only meanwhile, before or now.
    const std::optional<kernel::ObjectAndFlags> still =
        kernel::look_at_all(directory.get(), name.name);
    struct stat st{};
    checked(::fstat(held.get(), &st), "stat", name.name);
    if (!still || !is(still->object, object->handle) || st.st_ino != object->handle.ino) {
      return std::nullopt;
    }
    out.changing = still->object.changing;
    add_flags(still->flags, out.attr);
    return out;
  } catch (const SysError& error) {
    // One object that cannot be read does not keep the others from being copied.
    if (!moves_about(error)) {
      log::warning(error.what());
    }
    return std::nullopt;
  }
}

std::optional<kml::Time> KernelReplica::mtime(const kml::Fid& fid) {
  struct stat st{};
  if (fid == kml::kRootFid) {
    checked(::fstat(tree_.root(), &st), "stat", fileset_.mount_point);
    return time_of(st.st_mtim);
  }
  const repl::Object* object = index_->find(fid);
  if (object == nullptr) {
    return std::nullopt;
  }
  const Name& name = object->names.front();
  const UniqueFd directory = directory_of(name, object->handle);
  if (!directory || ::fstatat(directory.get(), name.name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
    return std::nullopt;
  }
  return time_of(st.st_mtim);
}

void KernelReplica::set_mtime(const kml::Fid& dir, const kml::Time& mtime) {
  if (const UniqueFd directory = open_directory(dir)) {
    touch(directory.get(),
          {.tv_sec = mtime.seconds, .tv_nsec = static_cast<long>(mtime.nanoseconds)});
  }
}

std::vector<std::string> KernelReplica::list(const kml::Fid& dir) {
  const UniqueFd directory = open_directory(dir);
  return directory ? names_in(directory.get()) : std::vector<std::string>();
}

}  // namespace izo::daemon
