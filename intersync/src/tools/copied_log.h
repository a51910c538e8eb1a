// SPDX-License-Identifier: GPL-2.0
// A log copied off: the header, then records, read once from front to back; a pipe will do.
#pragma once

#include <string>

#include "base/unique_fd.h"
#include "tools/log_source.h"

namespace izo::tools {

class CopiedLog final : public LogSource {
 public:
  /// Reads the header. Throws Damaged if it was cut off or altered, Error for what
  /// never was a log.
  CopiedLog(std::string name, UniqueFd fd);

  kml::Header header() override { return header_; }
  std::optional<std::size_t> read(std::uint64_t offset, std::span<std::byte> into) override;

 private:
  std::size_t read_on(std::span<std::byte> into);

  std::string name_;
  UniqueFd fd_;
  kml::Header header_;
  std::uint64_t offset_ = 0;  ///< Of the byte that comes next.
};

}  // namespace izo::tools
