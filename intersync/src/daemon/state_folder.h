// SPDX-License-Identifier: GPL-2.0
// The folder of a channel's daemon, /var/intermezzo-N: for people and scripts; nothing in it
// decides anything. It is of class local, so what is written there is never logged.
#pragma once

#include <string>

#include "kernel/fileset.h"
#include "kernel/log_file.h"

namespace izo::daemon {

/// Makes the folder and what is in it: `sysid`, the replica's UUID; `profile`, what fileset this
/// is; `cache`, a symbolic link to the mount point. `folder`: empty for /var/intermezzo-N. Throws
/// SysError.
void write_state_folder(const std::string& folder, const kernel::Fileset& fileset,
                        const kernel::LogInfo& log);

/// The text of `profile`: a line KEY=VALUE each of fileset, uuid and epoch.
std::string profile_of(const kernel::Fileset& fileset, const kernel::LogInfo& log);

}  // namespace izo::daemon
