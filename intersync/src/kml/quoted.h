// SPDX-License-Identifier: GPL-2.0
// Bytes that somebody else chose (names, targets, values) as text that is safe to print.
#pragma once

#include <string>
#include <string_view>

namespace izo::kml {

/// Is it well-formed UTF-8, all of it?
bool is_utf8(std::string_view bytes);

/// As it is if it is one word of printable UTF-8; else in double quotes, with a backslash before
/// quotes and backslashes, and \xHH for each byte of what is not UTF-8, not printable, or would
/// change what a terminal shows.
std::string quoted(std::string_view bytes);

/// Two hexadecimal digits for each byte.
std::string hex(std::string_view bytes);

}  // namespace izo::kml
