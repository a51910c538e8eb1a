// SPDX-License-Identifier: GPL-2.0
// What a request asks for: the path and the query of its first line. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace izo::http {

/// Decoded. Names nothing in the file system: a server compares it with what it has.
struct Target {
  /// The components of the path: at least one; none is empty, "." or "..", none has a slash or a
  /// control character.
  std::vector<std::string> path;
  /// Keys and values in their order; no key comes twice.
  std::vector<std::pair<std::string, std::string>> query;

  /// The value of that key; null if there is none.
  [[nodiscard]] const std::string* value(std::string_view key) const;
  bool operator==(const Target&) const = default;
};

inline constexpr std::size_t kMaxTarget = 4096;  ///< Bytes, as sent.
inline constexpr std::size_t kMaxParts = 16;     ///< Components, and keys.

/// "/a/b?key=value&other=%20"; nullopt for anything that breaks the rules above.
std::optional<Target> parse_target(std::string_view text);

/// The text of a target, everything that is not a letter, a digit or one of "-._~" encoded.
std::string to_string(const Target& target);

}  // namespace izo::http
