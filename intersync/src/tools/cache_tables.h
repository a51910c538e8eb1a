// SPDX-License-Identifier: GPL-2.0
// What mkizofs does to a file system: makes it a cache, or a copy of one a replica of its own.
#pragma once

#include <optional>
#include <string>

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

/// Why a fileset cannot have this name, as kmod/params.c has it; nullopt if it can.
std::optional<std::string> unfit_as_name(const std::string& fileset);

/// Makes .intermezzo/FILESET/replicas with one replica, this one. A cache that has it is left as it
/// is. `uuid`: of the fileset; random if there is none. Throws ext::Error, then with nothing
/// changed.
Identity mark(ext::Image& image, const std::string& fileset, const std::optional<kml::Uuid>& uuid);

/// Gives a byte copy of a replica's cache an identity of its own: one more replica, which is this
/// one. What it came with keeps its FIDs (`base`); the origin's log is removed, and the kernel
/// begins a new one at the first read-write mount. `of_server`: the origin is the server that the
/// clone will be a client of, and it is noted up to where it has that log (`last_rcvd`). Throws
/// ext::Error.
Identity clone(ext::Image& image, bool of_server);

}  // namespace izo::tools
