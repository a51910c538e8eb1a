// SPDX-License-Identifier: GPL-2.0
// Bytes that somebody else owns, and the same memory seen as text.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace izo {

using Bytes = std::span<const std::byte>;

inline Bytes as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

inline std::string_view as_text(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace izo
