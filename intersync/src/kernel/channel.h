// SPDX-License-Identifier: GPL-2.0
// The device of a channel, /dev/intermezzoN, as the one daemon that serves it has it.
#pragma once

#include <cstdint>
#include <optional>

#include "base/unique_fd.h"
#include "kernel/upcall.h"

namespace izo::kernel {

class Channel {
 public:
  /// Takes the channel; it is free again when this ends, and what was not answered is asked again.
  /// Throws SysError (EBUSY: another daemon has it) or, for a kernel that speaks another version,
  /// Error.
  explicit Channel(unsigned number);

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
