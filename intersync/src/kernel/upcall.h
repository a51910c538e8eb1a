// SPDX-License-Identifier: GPL-2.0
// What the kernel tells the daemon of a channel, from its bytes. The bytes are in
// <linux/intermezzo.h>, the rules in docs/device-protocol.md. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <variant>

#include "kml/codec.h"
#include "kml/tables.h"

namespace izo::kernel {

/// What every upcall says of the fileset that it is about.
struct About {
  std::uint64_t id = 0;       ///< Of the upcall.
  std::uint32_t channel = 0;  ///< N of /dev/intermezzoN.
  std::string name;           ///< One component of a path, of the bytes that fileset= takes.
  kml::Uuid fileset{};        ///< All 0 if there is no log.
  std::uint64_t epoch = 0;    ///< Of its log; 0 if there is none.

  bool operator==(const About&) const = default;
};

/// A fileset is mounted, or what is said here has changed. Asks for an answer.
struct Mounted {
  About about;
  bool read_only = false;
  kml::Uuid replica{};  ///< All 0 if there is no log.
  std::uint32_t dev_major = 0;
  std::uint32_t dev_minor = 0;
  std::string mtp;  ///< An absolute path, or empty.

  bool operator==(const Mounted&) const = default;
};

/// A fileset that was MOUNTED is not mounted any more.
struct Gone {
  About about;

  bool operator==(const Gone&) const = default;
};

/// There are new records: on the medium, or the first that are not.
struct KmlGrew {
  About about;
  std::uint64_t committed = 0;        ///< Offset before which all is on the medium.
  std::uint64_t committed_recno = 0;  ///< Number of the last record before it.
  std::uint64_t recno = 0;            ///< Number of the newest record.

  /// Are there records that a commit would make visible?
  [[nodiscard]] bool has_uncommitted() const { return recno > committed_recno; }
  bool operator==(const KmlGrew&) const = default;
};

using Upcall = std::variant<Mounted, Gone, KmlGrew>;
using DecodedUpcall = std::variant<Upcall, kml::Corrupt>;

/// What one read of the device gave: all of it, nothing else. An upcall that is taken has one form
/// only: no two different byte strings decode to the same.
DecodedUpcall decode_upcall(kml::Bytes bytes);

/// May this be the name of a fileset, and so of a directory?
bool is_fileset_name(std::string_view name);

}  // namespace izo::kernel
