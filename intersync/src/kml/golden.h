// SPDX-License-Identifier: GPL-2.0
// For tests: what a function makes of each good record of the corpus, compared with a committed
// file of lines "NAME: RESULT".
#pragma once

#include <functional>
#include <string>

#include "kml/record.h"

namespace izo::kml {

/// What differs from the file at `path`, empty if nothing. With IZO_WRITE_GOLDEN set in the
/// environment the file is written instead.
std::string differs_from_golden(const std::string& path,
                                const std::function<std::string(const Record&)>& show);

}  // namespace izo::kml
