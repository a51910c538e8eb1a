// SPDX-License-Identifier: GPL-2.0
#include "daemon/body_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <utility>

#include "base/error.h"
#include "kernel/object.h"

namespace izo::daemon {
namespace {

/// What most file systems can leave out of a file.
constexpr std::uint64_t kBlock = 4096;

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
  if (!changes_) {
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

void StagedBody::write(Bytes bytes) {
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
  end();
  // The kernel installs no body that somebody can still write.
  const std::string path = "/proc/self/fd/" + std::to_string(file_.get());
  UniqueFd read_only(checked(::open(path.c_str(), O_RDONLY | O_CLOEXEC), "open", path));
  file_.reset();
  return BodyFile::staged(std::move(read_only), size_);
}

}  // namespace izo::daemon
