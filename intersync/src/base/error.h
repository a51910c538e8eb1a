// SPDX-License-Identifier: GPL-2.0
// Failures that end an operation. Caught at the loop, per peer.
#pragma once

#include <cerrno>
#include <concepts>
#include <exception>
#include <string>
#include <string_view>
#include <utility>

namespace izo {

/// One line: what failed, on what, and what to do. Without a full stop.
class Error : public std::exception {
 public:
  explicit Error(std::string what) : what_(std::move(what)) {}

  [[nodiscard]] const char* what() const noexcept override { return what_.c_str(); }

 private:
  std::string what_;
};

/// A system call that failed: "call path: text of the error number".
class SysError : public Error {
 public:
  /// `error` is an errno value; `path` may be empty.
  SysError(int error, std::string_view call, std::string_view path = {});

  [[nodiscard]] int code() const noexcept { return code_; }

 private:
  int code_;
};

/// What the system call gave; throws SysError with errno if that is negative.
template <std::signed_integral Result>
Result checked(Result result, std::string_view call, std::string_view path = {}) {
  if (result < 0) {
    throw SysError(errno, call, path);
  }
  return result;
}

}  // namespace izo
