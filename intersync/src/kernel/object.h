// SPDX-License-Identifier: GPL-2.0
// What the kernel says of an object in a fileset: who made it, how it is found again, and whether
// its body is at rest (IZO_IOC_OBJECT).
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "kml/record.h"

namespace izo::kernel {

struct Object {
  kml::Fid fid;  ///< Empty of a local one.
  std::uint64_t ino = 0;
  std::uint32_t generation = 0;
  std::uint32_t mode = 0;          ///< With the type.
  bool local = false;              ///< This machine's own: other replicas know nothing of it.
  bool listed = false;             ///< Its body may not be on the medium yet: fsync(2) it.
  bool changing = false;           ///< Its body has changed, and no CLOSE says so yet.
  std::uint64_t body_changes = 0;  ///< Counts while the file is open.
};

/// What chattr(1) sets.
struct Flags {
  std::uint32_t flags = 0;  ///< FS_*_FL
  std::uint32_t project = 0;

  bool operator==(const Flags&) const = default;
};

struct ObjectAndFlags {
  Object object;
  std::optional<Flags> flags;  ///< Not every object, nor every cache, has them.
};

/// The open file or directory itself; nullopt if it has no name any more. Throws SysError.
std::optional<Object> look_at(int fd);

/// What a name in the open directory stands for, below anything that is mounted there; nullopt if
/// it is not there. Throws SysError.
std::optional<Object> look_at(int directory, const std::string& name);

/// The same with the flags. Nothing is opened: no lease is asked back.
std::optional<ObjectAndFlags> look_at_all(int fd);
std::optional<ObjectAndFlags> look_at_all(int directory, const std::string& name);

}  // namespace izo::kernel
