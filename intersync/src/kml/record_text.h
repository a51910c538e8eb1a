// SPDX-License-Identifier: GPL-2.0
// A record as a line for people to read: izoctl(8) says how.
#pragma once

#include <cstdint>
#include <string>

#include "kml/record.h"

namespace izo::kml {

/// One line without its newline, of printable characters only. `self`: the replica whose log it is;
/// where another one made the change, the line says so. Times of inodes are left out unless they
/// are what was changed; izo::tools::to_json() has everything.
std::string to_text(const Record& record, std::uint16_t self);

}  // namespace izo::kml
