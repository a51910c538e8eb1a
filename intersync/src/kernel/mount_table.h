// SPDX-License-Identifier: GPL-2.0
// /proc/self/mountinfo as proc(5) has it. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace izo::kernel {

struct Mount {
  std::uint64_t id = 0;
  std::uint32_t dev_major = 0;
  std::uint32_t dev_minor = 0;
  std::string root;   ///< Directory of the file system that stands at the mount point.
  std::string point;  ///< Where it is mounted.
  std::string type;
  std::string source;
  std::string super_options;  ///< Of the file system, with the kernel's escapes.

  /// The value of an option of the file system, unescaped: the first that is given.
  [[nodiscard]] std::optional<std::string> option(std::string_view name) const;
  /// N of prestodev=/dev/intermezzoN; nullopt if there is no such channel.
  [[nodiscard]] std::optional<unsigned> channel() const;
  /// Is the file system read-only, not only this mount of it?
  [[nodiscard]] bool is_read_only() const;
};

/// One line of the table, without its end; nullopt if it is none.
std::optional<Mount> parse_mount(std::string_view line);

/// All lines of the table that are mounts.
std::vector<Mount> parse_mounts(std::string_view table);

/// The mounts of InterMezzo: one for each file system, the first that shows its root. Their type is
/// intermezzo or vintermezzo, also where it was mounted as InterMezzo. A file system of which only
/// directories are mounted is left out: there is no way to its log.
std::vector<Mount> mounted_filesets(std::string_view table);

/// The mount of that number; nullopt if the table has none.
std::optional<Mount> find_mount(std::string_view table, std::uint64_t id);

}  // namespace izo::kernel
