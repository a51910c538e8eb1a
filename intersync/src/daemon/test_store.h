// SPDX-License-Identifier: GPL-2.0
// Bodies for tests: staged in a folder of the test's own, and what is in them.
#pragma once

#include <fcntl.h>
#include <sys/resource.h>

#include <csignal>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/temporary_folder.h"
#include "daemon/body_file.h"

namespace izo::daemon {

/// `length` bytes that differ from one seed to the next.
inline std::vector<std::byte> sample_body(std::size_t length, unsigned seed = 1) {
  std::vector<std::byte> out(length);
  for (std::size_t i = 0; i < length; i++) {
    out[i] = static_cast<std::byte>(seed * 37 + i % 251);
  }
  return out;
}

/// What is in a body; of null nothing.
inline std::vector<std::byte> content_of(const repl::Body* body) {
  const auto* file = dynamic_cast<const BodyFile*>(body);
  std::vector<std::byte> out(file != nullptr ? file->size() : 0);
  if (file != nullptr) {
    file->read(0, out);
  }
  return out;
}

/// No file can be larger while this lives.
class LargestFile {
 public:
  explicit LargestFile(std::uint64_t size) : on_signal_(std::signal(SIGXFSZ, SIG_IGN)) {
    checked(::getrlimit(RLIMIT_FSIZE, &before_), "getrlimit");
    const rlimit now{.rlim_cur = size, .rlim_max = before_.rlim_max};
    checked(::setrlimit(RLIMIT_FSIZE, &now), "setrlimit");
  }
  ~LargestFile() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, on_signal_);
  }
  LargestFile(const LargestFile&) = delete;
  LargestFile& operator=(const LargestFile&) = delete;

 private:
  void (*on_signal_)(int);
  rlimit before_{};
};

/// As the daemon's, which has them in the fileset.
inline StagedBody stage_in(const TemporaryFolder& folder) {
  return StagedBody(UniqueFd(checked(
      ::open(folder.path().c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600), "open", folder.path())));
}

}  // namespace izo::daemon
