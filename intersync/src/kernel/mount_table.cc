// SPDX-License-Identifier: GPL-2.0
#include "kernel/mount_table.h"

#include <linux/intermezzo.h>

#include <algorithm>
#include <charconv>
#include <utility>

namespace izo::kernel {
namespace {

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> out;
  for (;;) {
    const std::size_t end = text.find(separator);
    out.push_back(text.substr(0, end));
    if (end == std::string_view::npos) {
      return out;
    }
    text.remove_prefix(end + 1);
  }
}

template <typename T>
bool parse_number(std::string_view text, T& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc{} && end == text.data() + text.size();
}

/// A backslash and three octal digits stand for a byte.
std::string unescape(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); i++) {
    unsigned byte = 0;
    const std::string_view digits = text.substr(i + 1, 3);
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), byte, 8);
    if (text[i] == '\\' && digits.size() == 3 && error == std::errc{} &&
        end == digits.data() + digits.size() && byte <= 0xff) {
      out += static_cast<char>(byte);
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

}  // namespace

std::optional<std::string> Mount::option(std::string_view name) const {
  for (const std::string_view word : split(super_options, ',')) {
    if (word.starts_with(name) && word.substr(name.size()).starts_with('=')) {
      return unescape(word.substr(name.size() + 1));
    }
  }
  return std::nullopt;
}

std::optional<unsigned> Mount::channel() const {
  for (unsigned number = 0; number < INTERMEZZO_CHANNELS; number++) {
    if (option("prestodev") == "/dev/intermezzo" + std::to_string(number)) {
      return number;
    }
  }
  return std::nullopt;
}

bool Mount::is_read_only() const {
  return split(super_options, ',').front() == "ro";  // the kernel's first word
}

std::optional<Mount> parse_mount(std::string_view line) {
  const std::vector<std::string_view> words = split(line, ' ');
  std::size_t dash = 6;  // any number of optional fields may stand before it
  while (dash < words.size() && words[dash] != "-") {
    dash++;
  }
  if (words.size() != dash + 4) {
    return std::nullopt;
  }
  Mount out{.root = unescape(words[3]),
            .point = unescape(words[4]),
            .type = std::string(words[dash + 1]),
            .source = unescape(words[dash + 2]),
            .super_options = std::string(words[dash + 3])};
  const std::vector<std::string_view> device = split(words[2], ':');
  if (!parse_number(words[0], out.id) || device.size() != 2 ||
      !parse_number(device[0], out.dev_major) || !parse_number(device[1], out.dev_minor)) {
    return std::nullopt;
  }
  return out;
}

std::vector<Mount> parse_mounts(std::string_view table) {
  std::vector<Mount> out;
  for (const std::string_view line : split(table, '\n')) {
    if (std::optional<Mount> mount = parse_mount(line)) {
      out.push_back(*std::move(mount));
    }
  }
  return out;
}

std::vector<Mount> mounted_filesets(std::string_view table) {
  std::vector<Mount> out;
  for (Mount& mount : parse_mounts(table)) {
    mount.type = mount.type == "InterMezzo" ? "intermezzo" : mount.type;
    const bool is_ours = mount.type == "intermezzo" || mount.type == "vintermezzo";
    const bool is_there = std::ranges::any_of(out, [&](const Mount& one) {
      return one.dev_major == mount.dev_major && one.dev_minor == mount.dev_minor;
    });
    if (is_ours && mount.root == "/" && !is_there) {
      out.push_back(std::move(mount));
    }
  }
  return out;
}

std::optional<Mount> find_mount(std::string_view table, std::uint64_t id) {
  for (Mount& mount : parse_mounts(table)) {
    if (mount.id == id) {
      return std::move(mount);
    }
  }
  return std::nullopt;
}

}  // namespace izo::kernel
