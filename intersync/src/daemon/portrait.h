// SPDX-License-Identifier: GPL-2.0
// What an object of the tree has besides its names and its body, as system calls tell it.
#pragma once

#include <ctime>
#include <optional>
#include <string>

#include "base/unique_fd.h"
#include "kernel/object.h"
#include "repl/replica.h"

namespace izo::daemon {

kml::Time time_of(const timespec& time);

/// What a name in an open directory stands for, whatever becomes of the name. Symbolic links are
/// not followed, and nothing is opened: no lease is asked back. Throws SysError.
UniqueFd hold(int directory, const std::string& name);

/// Of what is held or open, all but its flags. Throws SysError.
repl::Portrait portrait_of(int fd);

/// What is missing there, if it has any.
void add_flags(const std::optional<kernel::Flags>& flags, kml::Attr& attr);

}  // namespace izo::daemon
