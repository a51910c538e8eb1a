// SPDX-License-Identifier: GPL-2.0
// SIGINT and SIGTERM as something to wait for.
#pragma once

#include <csignal>

#include "base/unique_fd.h"

namespace izo::tools {

/// While it lives the two signals do nothing but make fd() readable.
class StopSignals {
 public:
  /// Throws SysError.
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  [[nodiscard]] int fd() const { return fd_.get(); }
  /// Has one come?
  [[nodiscard]] bool asked() const;

 private:
  sigset_t before_{};
  UniqueFd fd_;
};

}  // namespace izo::tools
