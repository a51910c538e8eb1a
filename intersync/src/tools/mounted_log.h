// SPDX-License-Identifier: GPL-2.0
// The log of a mounted fileset, through .intermezzo/FILESET/kml: what is on the medium of it.
#pragma once

#include <optional>
#include <string>

#include "base/unique_fd.h"
#include "kernel/log_file.h"
#include "tools/log_source.h"

namespace izo::tools {

class MountedLog final : public LogSource {
 public:
  /// `fd`: of which kernel::LogFile::is_one().
  MountedLog(const std::string& path, UniqueFd fd) : path_(path), log_(path, std::move(fd)) {}

  kml::Header header() override;
  std::optional<std::size_t> read(std::uint64_t offset, std::span<std::byte> into) override;

  enum class Wait { kMore, kStopped, kFailed };
  /// Waits until there may be more to read at `offset`, the end; some seconds at most, as an
  /// overflow wakes nobody. Stopped: `stop` is readable, or nobody reads standard output any more.
  /// Failed: the fileset's journal has, and no more will come.
  Wait wait(std::uint64_t offset, int stop);

 private:
  std::string path_;
  kernel::LogFile log_;
};

}  // namespace izo::tools
