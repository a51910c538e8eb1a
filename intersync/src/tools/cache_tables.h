// SPDX-License-Identifier: GPL-2.0
// What mkizofs does to a file system: makes it a cache, or a copy of one a replica of its own.
#pragma once

#include <optional>
#include <string>

#include "base/command_line.h"
#include "ext/image.h"
#include "kml/tables.h"

namespace izo::tools {

/// What was done, or found.
struct Identity {
  std::string fileset;  ///< Its name: the folder in .intermezzo.
  kml::Replicas replicas;
  bool changed = false;            ///< False: it was there already.
  std::size_t copied_objects = 0;  ///< That keep the FIDs of other replicas; of a clone.
};

/// The option --fileset=NAME of programs, with a name that the kernel takes.
CommandOption fileset_option(std::optional<std::string>& out);

/// Makes .intermezzo/FILESET/replicas with one replica, this one. A cache that has it is left as it
/// is. `wanted`: the name of the fileset; without it the one that is there, or "rootset". `uuid`:
/// of the fileset; random if there is none. Throws Error, then with nothing changed.
Identity mark(ext::Image& image, const std::optional<std::string>& wanted,
              const std::optional<kml::Uuid>& uuid);

/// Gives a byte copy of a replica's cache an identity of its own: one more replica, which is this
/// one. What it came with keeps its FIDs (`base`); the origin's log is removed, and the kernel
/// begins a new one at the first read-write mount. `of_server`: the origin is the server that the
/// clone will be a client of, and it is noted up to where it has that log (`last_rcvd`).
/// Throws Error.
Identity clone(ext::Image& image, bool of_server);

}  // namespace izo::tools
