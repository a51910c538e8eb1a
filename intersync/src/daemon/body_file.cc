// SPDX-License-Identifier: GPL-2.0
#include "daemon/body_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "kernel/object.h"

namespace izo::daemon {
namespace {

/// What most file systems can leave out of a file.
constexpr std::uint64_t kBlock = 4096;
/// A file of this size every file system can hold.
constexpr std::uint64_t kFitsAnywhere = std::uint64_t{1} << 30;

struct Run {
  std::size_t length = 0;
  bool is_hole = false;
};

/// The longest beginning of `bytes`, which stand at `offset` of a file, that is to be left out as a
/// whole or written as a whole.
Run run_of(Bytes bytes, std::uint64_t offset) {
  Run out;
  while (!bytes.empty()) {
    const Bytes block =
        bytes.first(std::min(bytes.size(), kBlock - (offset + out.length) % kBlock));
    const bool is_hole =
        std::ranges::all_of(block, [](std::byte byte) { return byte == std::byte{}; });
    if (out.length != 0 && is_hole != out.is_hole) {
      break;
    }
    out = {.length = out.length + block.size(), .is_hole = is_hole};
    bytes = bytes.subspan(block.size());
  }
  return out;
}

}  // namespace

std::shared_ptr<BodyFile> BodyFile::live(UniqueFd file, std::uint64_t size, std::uint64_t changes) {
  return std::shared_ptr<BodyFile>(new BodyFile(std::move(file), size, changes));
}

std::shared_ptr<BodyFile> BodyFile::staged(UniqueFd file, std::uint64_t size) {
  return std::shared_ptr<BodyFile>(new BodyFile(std::move(file), size, std::nullopt));
}

std::shared_ptr<BodyFile> BodyFile::too_large(std::uint64_t size) {
  return std::shared_ptr<BodyFile>(new BodyFile(UniqueFd(), size, std::nullopt));
}

std::uint64_t BodyFile::seek(std::uint64_t offset, int whence) const {
  const off_t found = ::lseek(file_.get(), static_cast<off_t>(offset), whence);
  if (found < 0 && errno == ENXIO) {
    return size_;
  }
  // What is no file with holes may answer anything.
  return std::clamp(static_cast<std::uint64_t>(checked(found, "lseek", "a body")), offset, size_);
}

BodyFile::Stretch BodyFile::data_from(std::uint64_t offset) const {
  if (offset < data_.begin || offset >= data_.end) {
    const std::uint64_t begin = seek(offset, SEEK_DATA);
    // One that changes just now may have become a hole: that is found out in the end.
    data_ = {.begin = begin,
             .end = begin < size_ ? std::max(begin + 1, seek(begin, SEEK_HOLE)) : size_};
  }
  return {.begin = std::max(offset, data_.begin), .end = data_.end};
}

BodyFile::Stretch BodyFile::stretch(std::uint64_t offset, std::uint64_t most) const {
  Stretch out = data_from(offset);
  // Holes that cost a reader as much to hear of as to get.
  if (out.begin - offset < most) {
    out.begin = offset;
  }
  while (out.end - out.begin < most && out.end < size_) {
    const Stretch next = data_from(out.end);
    if (next.begin - out.end >= most) {
      break;
    }
    out.end = next.end;
  }
  out.end = std::min(out.end, out.begin + most);
  return out;
}

void BodyFile::read(std::uint64_t offset, std::span<std::byte> into) const {
  while (!into.empty()) {
    const ssize_t size = ::pread(file_.get(), into.data(), into.size(), static_cast<off_t>(offset));
    if (size < 0 && errno == EINTR) {
      continue;
    }
    const auto got = static_cast<std::size_t>(checked(size, "read", "a body"));
    if (got == 0) {
      throw Error("a file became shorter while it was read");
    }
    offset += got;
    into = into.subspan(got);
  }
}

bool BodyFile::is_whole() const {
  if (is_staged()) {
    return true;
  }
  const std::optional<kernel::Object> now = kernel::look_at(file_.get());
  return now && !now->changing && now->body_changes == *changes_;
}

bool BodyFile::has_name() const {
  struct stat st{};
  checked(::fstat(file_.get(), &st), "stat", "a body");
  return st.st_nlink != 0;
}

bool BodyFile::is_same_as(const BodyFile& earlier) const {
  struct stat one{};
  struct stat other{};
  checked(::fstat(file_.get(), &one), "stat", "a body");
  checked(::fstat(earlier.file_.get(), &other), "stat", "a body");
  // Changes are counted from when the first of the two was opened.
  return one.st_dev == other.st_dev && one.st_ino == other.st_ino && size_ == earlier.size_ &&
         changes_ == earlier.changes_ && earlier.is_whole();
}

void StagedBody::expect(std::uint64_t size) {
  if (size <= kFitsAnywhere || ::ftruncate(file_.get(), static_cast<off_t>(size)) == 0) {
    return;
  }
  if (errno != EFBIG) {
    throw SysError(errno, "ftruncate", "a staged body");
  }
  fits_ = false;
  log::notice("a file of ", size, " bytes comes: this file system cannot hold one so large");
}

void StagedBody::write(Bytes bytes) {
  if (!fits_) {
    size_ += bytes.size();
    return;
  }
  while (!bytes.empty()) {
    const Run run = run_of(bytes, size_);
    std::size_t done = run.length;
    if (!run.is_hole) {
      const ssize_t size =
          ::pwrite(file_.get(), bytes.data(), run.length, static_cast<off_t>(size_));
      if (size < 0 && errno == EINTR) {
        continue;
      }
      done = static_cast<std::size_t>(checked(size, "write", "a staged body"));
    }
    size_ += done;
    bytes = bytes.subspan(done);
  }
}

void StagedBody::end() {
  checked(::ftruncate(file_.get(), static_cast<off_t>(size_)), "ftruncate", "a staged body");
}

std::shared_ptr<BodyFile> StagedBody::finish() {
  if (!fits_) {
    file_.reset();
    return BodyFile::too_large(size_);
  }
  end();
  // The kernel installs no body that somebody can still write.
  const std::string path = "/proc/self/fd/" + std::to_string(file_.get());
  UniqueFd read_only(checked(::open(path.c_str(), O_RDONLY | O_CLOEXEC), "open", path));
  file_.reset();
  return BodyFile::staged(std::move(read_only), size_);
}

}  // namespace izo::daemon
