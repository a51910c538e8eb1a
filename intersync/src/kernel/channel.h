// SPDX-License-Identifier: GPL-2.0
// The device of a channel, /dev/intermezzoN, as the one daemon that serves it has it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "base/unique_fd.h"
#include "kernel/upcall.h"

namespace izo::kernel {

/// Says which version this program speaks, to the device that is open at `path`. Throws Error,
/// which says what to install, if the kernel speaks another one or none; else SysError.
void agree_on_version(int device, const std::string& path);
/// What is thrown for the device's refusal with that errno, when it says that it speaks `theirs`.
[[noreturn]] void fail_to_agree(int error, std::uint32_t theirs, const std::string& path);

class Channel {
 public:
  /// Takes the channel; it is free again when this ends, and what was not answered is asked again.
  /// Throws SysError (EBUSY: another daemon has it) or, for a kernel that speaks another version,
  /// Error.
  explicit Channel(unsigned number);
  /// One that is open, and whose kernel speaks this program's version; `path` is for people.
  Channel(UniqueFd device, std::string path) : path_(std::move(path)), fd_(std::move(device)) {}

  /// The next upcall; nullopt if none waits. Never blocks: the descriptor becomes readable when one
  /// does. Throws SysError, or Error for an upcall that breaks the protocol.
  std::optional<Upcall> read();

  /// Answers an upcall that asks: done (0), or the errno that says why not. False if the question
  /// was withdrawn meanwhile. Throws SysError.
  bool answer(std::uint64_t id, int error = 0);

  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
  UniqueFd fd_;
};

}  // namespace izo::kernel
