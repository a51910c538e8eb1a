// SPDX-License-Identifier: GPL-2.0
// The mounts of InterMezzo in /proc/self/mountinfo.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace izo::tools {

/// A mounted fileset: one superblock, under the first of its mount points that shows its root.
struct Mount {
  std::string mount_point;
  std::string device_number;  ///< "MAJOR:MINOR".
  std::string type;           ///< intermezzo or vintermezzo.
  std::string source;         ///< The device.
  bool read_only = false;     ///< The file system, not only a mount of it.
  std::optional<std::string> fileset;
  std::optional<std::string> mtp;
  std::optional<std::string> cache_type;
  std::optional<unsigned> channel;

  bool operator==(const Mount&) const = default;
};

/// From the text of mountinfo. A superblock of which only directories are mounted is left out:
/// there is no way to its log. Lines that are none are skipped.
std::vector<Mount> mounts_in(std::string_view mountinfo);

}  // namespace izo::tools
