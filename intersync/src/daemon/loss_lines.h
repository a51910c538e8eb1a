// SPDX-License-Identifier: GPL-2.0
// What the log says of a peer's changes that were not made here. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "repl/losses.h"

namespace izo::daemon {

/// A line for each, and one for all that are more than eight. `whose`: who made them.
std::vector<std::string> lines_of(const std::vector<repl::Loss>& losses, std::string_view whose);

}  // namespace izo::daemon
