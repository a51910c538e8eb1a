// SPDX-License-Identifier: GPL-2.0
// A mounted fileset: from the path that an administrator gives to its channel and its log.
#pragma once

#include <cstdint>
#include <string>

namespace izo::kernel {

struct Fileset {
  std::string mount_point;  ///< As the mount table has it.
  std::string name;
  unsigned channel = 0;
  std::uint32_t dev_major = 0;
  std::uint32_t dev_minor = 0;
  bool read_only = false;  ///< The file system, not only a mount of it.

  [[nodiscard]] std::string directory() const;  ///< .intermezzo/NAME
  [[nodiscard]] std::string log_path() const;
  /// Why its log cannot be opened, and what to do, for who is root or is not.
  [[nodiscard]] std::string why_no_log(bool is_root) const;
};

/// The fileset mounted at `path`, which may lead there through symbolic links. Throws SysError, or
/// Error that says what is mounted there instead and what to do.
Fileset find_fileset(const std::string& path);

}  // namespace izo::kernel
