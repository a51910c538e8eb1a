// SPDX-License-Identifier: GPL-2.0
// The log of a mounted fileset, through .intermezzo/FILESET/kml: what is on the medium of it.
#pragma once

#include <linux/intermezzo.h>

#include <optional>
#include <string>

#include "base/unique_fd.h"
#include "tools/log_source.h"

namespace izo::tools {

class MountedLog final : public LogSource {
 public:
  MountedLog(std::string path, UniqueFd fd) : path_(std::move(path)), fd_(std::move(fd)) {}

  /// Is this the open file of a mounted fileset's log?
  static bool is_one(int fd) { return ask(fd).has_value(); }
  /// The state of the log whose file this is; nullopt if it is none, or none is open.
  static std::optional<izo_kml_info> ask(int fd);

  kml::Header header() override;
  std::optional<std::size_t> read(std::uint64_t offset, std::span<std::byte> into) override;

  enum class Wait { kMore, kStopped, kFailed };
  /// Waits until there may be more to read at `offset`, the end; some seconds at most, as an
  /// overflow wakes nobody. Stopped: `stop` is readable, or nobody reads standard output any more.
  /// Failed: the fileset's journal has, and no more will come.
  Wait wait(std::uint64_t offset, int stop);

 private:
  std::string path_;
  UniqueFd fd_;
};

}  // namespace izo::tools
