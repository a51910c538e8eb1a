// SPDX-License-Identifier: GPL-2.0
#include "tools/mount_table.h"

#include <algorithm>
#include <charconv>

namespace izo::tools {
namespace {

std::vector<std::string_view> split(std::string_view text, char at) {
  std::vector<std::string_view> out;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(at), text.size());
    out.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

/// The kernel writes blanks and the like as three octal digits.
std::string unescaped(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    unsigned code = 0;
    if (text[0] == '\\' && text.size() >= 4 &&
        std::from_chars(&text[1], &text[4], code, 8).ptr == &text[4]) {
      out += static_cast<char>(code);
      text.remove_prefix(4);
    } else {
      out += text[0];
      text.remove_prefix(1);
    }
  }
  return out;
}

void take_option(Mount& mount, std::string_view option) {
  constexpr std::string_view kDevice = "prestodev=/dev/intermezzo";
  const std::size_t equals = option.find('=');
  const std::string_view key = option.substr(0, equals);
  if (option == "ro") {
    mount.read_only = true;
  } else if (option.starts_with(kDevice)) {
    unsigned channel = 0;
    option.remove_prefix(kDevice.size());
    const auto [end, error] = std::from_chars(option.begin(), option.end(), channel);
    if (error == std::errc{} && end == option.end()) {
      mount.channel = channel;
    }
  } else if (equals != std::string_view::npos) {
    const std::string value = unescaped(option.substr(equals + 1));
    if (key == "fileset") {
      mount.fileset = value;
    } else if (key == "mtp") {
      mount.mtp = value;
    } else if (key == "cache_type") {
      mount.cache_type = value;
    }
  }
}

/// nullopt: no mount of ours, or of a directory in one.
std::optional<Mount> mount_in(std::string_view line) {
  const std::size_t dash = line.find(" - ");
  if (dash == std::string_view::npos) {
    return std::nullopt;
  }
  const auto left = split(line.substr(0, dash), ' ');
  const auto right = split(line.substr(dash + 3), ' ');
  if (left.size() < 6 || right.size() < 3 || left[3] != "/") {
    return std::nullopt;
  }
  Mount mount{.mount_point = unescaped(left[4]),
              .device_number = std::string(left[2]),
              .type = std::string(right[0] == "InterMezzo" ? "intermezzo" : right[0]),
              .source = unescaped(right[1])};
  if (mount.type != "intermezzo" && mount.type != "vintermezzo") {
    return std::nullopt;
  }
  for (const std::string_view option : split(right[2], ',')) {
    take_option(mount, option);
  }
  return mount;
}

}  // namespace

std::vector<Mount> mounts_in(std::string_view mountinfo) {
  std::vector<Mount> out;
  for (const std::string_view line : split(mountinfo, '\n')) {
    const std::optional<Mount> mount = mount_in(line);
    if (mount && std::ranges::find(out, mount->device_number, &Mount::device_number) == out.end()) {
      out.push_back(*mount);
    }
  }
  return out;
}

}  // namespace izo::tools
