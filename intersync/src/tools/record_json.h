// SPDX-License-Identifier: GPL-2.0
// A record as JSON, with everything that it says: izoctl(8) describes the members.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "kml/record.h"

namespace izo::tools {

/// A string if the bytes are UTF-8 without NULs, else {"hex": "..."}: either way all of them.
nlohmann::ordered_json bytes_to_json(const std::string& bytes);

nlohmann::ordered_json to_json(const kml::Record& record);

}  // namespace izo::tools
