// SPDX-License-Identifier: GPL-2.0
// Structures of the log between their bytes and the host's integers.
#pragma once

#include <endian.h>
#include <linux/intermezzo_kml.h>

#include <concepts>
#include <cstddef>
#include <cstring>
#include <span>
#include <type_traits>
#include <vector>

namespace izo::kml {

/// A PAD with its head has at most so many bytes: for more a filler stands there instead.
constexpr std::size_t kPadMost = IZO_KML_FILLER_MIN - 8;

/// The host's integer for a little-endian field, or the field for a host's integer: the same swap.
template <std::unsigned_integral T>
constexpr T little(T value) {
  if constexpr (sizeof(T) == 2) {
    return htole16(value);
  } else if constexpr (sizeof(T) == 4) {
    return htole32(value);
  } else {
    static_assert(sizeof(T) == 8);
    return static_cast<T>(htole64(value));
  }
}

/// The structure at the start of `bytes`, which must be as long; they need no alignment.
template <typename T>
T load(std::span<const std::byte> bytes) {
  static_assert(std::is_trivially_copyable_v<T>);
  T value;
  std::memcpy(&value, bytes.data(), sizeof(T));
  return value;
}

/// Adds a structure's bytes.
template <typename T>
void append(std::vector<std::byte>& out, const T& value) {
  static_assert(std::has_unique_object_representations_v<T>, "padding would have any value");
  const std::size_t at = out.size();
  out.resize(at + sizeof(T));
  std::memcpy(&out[at], &value, sizeof(T));
}

}  // namespace izo::kml
