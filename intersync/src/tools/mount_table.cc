// SPDX-License-Identifier: GPL-2.0
#include "tools/mount_table.h"

#include <algorithm>

#include "kernel/mount_table.h"

namespace izo::tools {
namespace {

/// nullopt: no mount of ours, or of a directory in one.
std::optional<Mount> mount_of(const kernel::Mount& mount) {
  const std::string type = mount.type == "InterMezzo" ? "intermezzo" : mount.type;
  if ((type != "intermezzo" && type != "vintermezzo") || mount.root != "/") {
    return std::nullopt;
  }
  return Mount{
      .mount_point = mount.point,
      .device_number = std::to_string(mount.dev_major) + ':' + std::to_string(mount.dev_minor),
      .type = type,
      .source = mount.source,
      .read_only = mount.is_read_only(),
      .fileset = mount.option("fileset"),
      .mtp = mount.option("mtp"),
      .cache_type = mount.option("cache_type"),
      .channel = mount.channel()};
}

}  // namespace

std::vector<Mount> mounts_in(std::string_view mountinfo) {
  std::vector<Mount> out;
  for (const kernel::Mount& line : kernel::parse_mounts(mountinfo)) {
    const std::optional<Mount> mount = mount_of(line);
    if (mount && std::ranges::find(out, mount->device_number, &Mount::device_number) == out.end()) {
      out.push_back(*mount);
    }
  }
  return out;
}

}  // namespace izo::tools
