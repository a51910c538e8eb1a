// SPDX-License-Identifier: GPL-2.0
// A file descriptor with one owner.
#pragma once

#include <unistd.h>

#include <utility>

namespace izo {

/// Closes its descriptor when it ends. Move-only; empty by default.
class UniqueFd {
 public:
  UniqueFd() = default;
  /// Owns `fd` from now on; a negative number is "none".
  explicit UniqueFd(int fd) noexcept : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(other.release()) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    reset(other.release());
    return *this;
  }
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;
  ~UniqueFd() { reset(); }

  /// The number, still owned here; -1 if there is none.
  [[nodiscard]] int get() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }

  /// The number, owned by the caller from now on.
  [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }

  /// Closes what is owned and owns `fd`. Errors of close(2) are not told: who must know whether
  /// data arrived calls fsync(2) first.
  void reset(int fd = -1) noexcept {
    const int old = std::exchange(fd_, fd < 0 ? -1 : fd);
    if (old >= 0) {
      ::close(old);
    }
  }

 private:
  int fd_ = -1;
};

}  // namespace izo
