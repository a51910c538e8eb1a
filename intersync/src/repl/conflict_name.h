// SPDX-License-Identifier: GPL-2.0
// The names that losers of conflicts get, and what they were called before.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "kml/record.h"

namespace izo::repl {

/// The name that a loser gets: NAME.conflict- and eight hexadecimal digits, at most 255 bytes. The
/// same on every replica for the same object and number.
std::string conflict_name(const std::string& name, const kml::Fid& fid, std::uint64_t number);

/// NAME, if that is such a name. One that was cut to fit is what is left of it.
std::optional<std::string> original_name(std::string_view name);

}  // namespace izo::repl
