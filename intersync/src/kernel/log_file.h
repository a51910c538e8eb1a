// SPDX-License-Identifier: GPL-2.0
// The log of a mounted fileset as the kernel shows it: .intermezzo/FILESET/kml. Positions of the
// file are offsets of the log, and only what is on the medium can be read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <variant>

#include "base/unique_fd.h"
#include "kernel/fileset.h"
#include "kml/codec.h"
#include "kml/tables.h"

namespace izo::kernel {

/// The state of a log: see struct izo_kml_info.
struct LogInfo {
  kml::Uuid fileset{};
  kml::Uuid replica{};
  std::uint16_t self = 0;
  std::uint64_t epoch = 0;
  std::uint64_t first = 0;
  std::uint64_t first_recno = 0;
  std::uint64_t committed = 0;
  std::uint64_t end = 0;
  std::uint64_t end_recno = 0;
  std::uint64_t capacity = 0;  ///< Bytes.
  std::uint64_t limit = 0;     ///< Bytes.
  std::uint64_t dirty = 0;     ///< Entries of the LML.
  bool journaled = false;
  bool failed = false;
  bool overflow = false;

  bool operator==(const LogInfo&) const = default;
};

using DecodedLogInfo = std::variant<LogInfo, kml::Corrupt>;

/// From the bytes of a struct izo_kml_info. Pure.
DecodedLogInfo decode_log_info(kml::Bytes bytes);

class LogFile {
 public:
  /// Of a mounted fileset. Throws Error, which says what to do, if its log is not open or the
  /// caller has not CAP_SYS_ADMIN; else SysError.
  explicit LogFile(const Fileset& fileset);
  /// The open file `fd`, of which is_one(). `path`: what messages call it.
  LogFile(std::string path, UniqueFd fd) : path_(std::move(path)), fd_(std::move(fd)) {}

  /// Is that the open file of a mounted fileset's log? Else errno says why not.
  static bool is_one(int fd);

  /// Throw SysError, or Error for what no log has.
  [[nodiscard]] kml::Header header() const;
  [[nodiscard]] LogInfo info() const;

  /// The bytes asked for lie before the oldest record: they were trimmed away.
  struct Trimmed {};

  /// Bytes of the log from `offset` on; fewer than `into` has room for at the end of what is on the
  /// medium, 0 of them at that end. Throws SysError.
  [[nodiscard]] std::variant<std::size_t, Trimmed> read(std::uint64_t offset,
                                                        std::span<std::byte> into) const;

  /// Brings all records onto the medium; waits for the cache's journal. Throws SysError.
  void commit() const;

  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  std::string path_;
  UniqueFd fd_;
};

}  // namespace izo::kernel
