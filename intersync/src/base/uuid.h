// SPDX-License-Identifier: GPL-2.0
// UUIDs: replicas, filesets.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/random.h"

namespace izo {

/// 16 bytes, in the order in which they are printed.
struct Uuid {
  std::array<std::uint8_t, 16> bytes{};

  auto operator<=>(const Uuid&) const = default;
};

/// "01234567-89ab-cdef-0123-456789abcdef", upper or lower case, and nothing around it.
std::optional<Uuid> parse_uuid(std::string_view text);

/// 16 raw bytes, as a log's header has them.
std::optional<Uuid> uuid_of(std::string_view raw);

/// In lower case.
std::string to_string(const Uuid& uuid);

/// A new one, of version 4 (RFC 4122).
Uuid make_uuid(Random& random);

}  // namespace izo
