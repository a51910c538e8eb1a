// SPDX-License-Identifier: GPL-2.0
// What an object of the tree has besides its names and its body, as system calls tell it.
#pragma once

#include <ctime>
#include <optional>
#include <string>

#include "repl/replica.h"

namespace izo::daemon {

kml::Time time_of(const timespec& time);

/// Of an open file or directory. Throws SysError.
repl::Portrait portrait_of(int fd);

/// Of what a name in an open directory stands for; nullopt if it is not there. Symbolic links are
/// not followed. Throws SysError.
std::optional<repl::Portrait> portrait_of(int directory, const std::string& name);

}  // namespace izo::daemon
