// SPDX-License-Identifier: GPL-2.0
// Where izoctl gets the bytes of a log from: a mounted fileset, a copy, or the files of a cache.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "kml/record.h"
#include "kml/stream_reader.h"

namespace izo::tools {

/// The log is cut off or was altered: what() names it, the offset, and what is wrong there.
class Damaged : public Error {
 public:
  using Error::Error;
};

/// A log that can be read from. Functions throw Error with one line that names it.
class LogSource {
 public:
  virtual ~LogSource() = default;

  /// Its header, as it is now: of a mounted fileset the log's beginning and flags may change.
  virtual kml::Header header() = 0;

  /// Reads at an offset of the log, not before that of an earlier call; at most one record's most.
  /// How many bytes; 0 at its end; nullopt if they are gone: then header() says where it begins.
  /// Throws for an offset beyond the end.
  virtual std::optional<std::size_t> read(std::uint64_t offset, std::span<std::byte> into) = 0;

  /// Is the log over where at this offset there is no record? Of a copy it is damaged then.
  [[nodiscard]] virtual bool may_end_at(std::uint64_t offset) const;

  /// What a reader should know beside the records, in one line; empty if nothing.
  [[nodiscard]] virtual std::string warning() const;
};

/// Where the log ends: what would come there has the position's number. Throws Damaged if what
/// stands before is none.
kml::Position end_of(LogSource& log);

/// Opens a log. `path`: a mount point, a log's file, "-" for a copy on standard input, or a
/// directory or an image that holds a cache. `fileset`: which one of that; empty: the only one.
std::unique_ptr<LogSource> open_log(const std::string& path, const std::string& fileset);

/// The fileset of the .intermezzo with these names in it; throws Error if there is
/// none of the name `wanted`, or none or several to choose from when that is empty.
std::string choose_fileset(const std::vector<std::string>& names, const std::string& wanted,
                           const std::string& path);

}  // namespace izo::tools
