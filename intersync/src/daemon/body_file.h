// SPDX-License-Identifier: GPL-2.0
// Bodies as files: of the fileset, as they are now, or staged in files without a name.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "base/bytes.h"
#include "base/unique_fd.h"
#include "repl/replica.h"

namespace izo::daemon {

/// A body that can be read any number of times.
class BodyFile final : public repl::Body {
 public:
  /// Of a file that may change: `changes` as IZO_IOC_OBJECT gave it after it was opened.
  static std::shared_ptr<BodyFile> live(UniqueFd file, std::uint64_t size, std::uint64_t changes);
  /// Of a file that nobody can change.
  static std::shared_ptr<BodyFile> staged(UniqueFd file, std::uint64_t size);

  /// Of that size, which no file can have here.
  static std::shared_ptr<BodyFile> too_large(std::uint64_t size);

  [[nodiscard]] int fd() const { return file_.get(); }
  [[nodiscard]] std::uint64_t size() const { return size_; }
  [[nodiscard]] bool fits() const override { return static_cast<bool>(file_); }

  /// Bytes from `begin` up to `end`.
  struct Stretch {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;

    auto operator<=>(const Stretch&) const = default;
  };
  /// What is to be read next from `offset` on, at most so many bytes: what stands before it is
  /// zeros, as many at least, or nothing. Both are the body's size if no more is to be read. Throws
  /// SysError.
  [[nodiscard]] Stretch stretch(std::uint64_t offset, std::uint64_t most) const;

  /// Bytes from `offset` on, fewer than there is room for at the end only. Throws SysError; Error
  /// if the file has become shorter.
  void read(std::uint64_t offset, std::span<std::byte> into) const;

  /// Is everything that was read of it until now the same body? Throws SysError.
  [[nodiscard]] bool is_whole() const;

  /// Did it come from elsewhere, so that nobody can change it?
  [[nodiscard]] bool is_staged() const { return !changes_; }
  /// Does the file have a name still? Throws SysError.
  [[nodiscard]] bool has_name() const;

  /// Not if its file was removed since: our log says so, on the medium or not. Throws SysError.
  [[nodiscard]] bool is_wanted() const { return is_staged() || has_name(); }

  /// Is it the body that `earlier` is, which was opened before, and open ever since? Throws
  /// SysError.
  [[nodiscard]] bool is_same_as(const BodyFile& earlier) const;

 private:
  BodyFile(UniqueFd file, std::uint64_t size, std::optional<std::uint64_t> changes)
      : file_(std::move(file)), size_(size), changes_(changes) {}

  [[nodiscard]] std::uint64_t seek(std::uint64_t offset, int whence) const;
  /// What there is of data that is at `offset`, or is the next.
  [[nodiscard]] Stretch data_from(std::uint64_t offset) const;

  UniqueFd file_;
  std::uint64_t size_;
  std::optional<std::uint64_t> changes_;
  mutable Stretch data_;  // as found last: to find its end may take long
};

/// A body on its way: the file that it will be, without a name.
class StagedBody {
 public:
  /// `file` is new, open for reading and writing, and of the file system where it will stay.
  explicit StagedBody(UniqueFd file) : file_(std::move(file)) {}

  /// It will have so many bytes. Is that too many for a file here, nothing of what is added is
  /// kept, and the body will say so. Throws SysError.
  void expect(std::uint64_t size);
  [[nodiscard]] bool fits() const { return fits_; }

  /// Adds bytes; whole blocks of zeros take no room. Throws SysError.
  void write(Bytes bytes);
  /// Adds zeros.
  void skip(std::uint64_t length) { size_ += length; }
  /// No more is added: what was left out at its end belongs to it too. Throws SysError.
  void end();
  [[nodiscard]] std::uint64_t size() const { return size_; }

  /// The whole body, which nobody can change any more; this is empty then. Throws SysError.
  std::shared_ptr<BodyFile> finish();

 private:
  UniqueFd file_;
  std::uint64_t size_ = 0;
  bool fits_ = true;
};

}  // namespace izo::daemon
