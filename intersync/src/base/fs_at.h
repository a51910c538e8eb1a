// SPDX-License-Identifier: GPL-2.0
// Small files of state, by directory descriptor. Names are plain names: one component, as the
// program knows them, never from a peer. Symlinks are not followed. All throw SysError.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "base/bytes.h"
#include "base/unique_fd.h"

namespace izo {

/// An existing directory; `path` may have any number of components.
UniqueFd open_directory(const std::string& path);

/// The directory `name` in `directory`, made with `mode` if it is not there.
UniqueFd make_directory(int directory, const std::string& name, mode_t mode);

/// The whole contents of a regular file; nullopt if there is none of that name. Throws Error if it
/// is longer than `most` bytes, or not a regular file.
std::optional<std::string> read_file(int directory, const std::string& name, std::size_t most);

/// Replaces or makes a file so that after any crash the old contents or the new are there, whole,
/// and after the return the new, also after a power cut. On failure the old file is as it was.
void write_file(int directory, const std::string& name, Bytes contents, mode_t mode);

/// Removes what crashes inside write_file() left. For the one who owns the directory, before others
/// write there.
void remove_leftovers(int directory);

}  // namespace izo
