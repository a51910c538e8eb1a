// SPDX-License-Identifier: GPL-2.0
// The log as it lies on a cache that is not mounted as intermezzo: a control block and a ring of
// segments (docs/kml-format.md, "On the cache").
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "kml/codec.h"
#include "tools/log_source.h"

namespace izo::tools {

class CacheLog final : public LogSource {
 public:
  /// The contents of a file of .intermezzo/FILESET; nullopt if there is none of this name.
  using ReadFile = std::function<std::optional<std::vector<std::byte>>(const std::string& name)>;

  /// Looks at all segments, and keeps none. Throws Damaged if there is no log in them.
  CacheLog(std::string name, ReadFile read_file, std::string warning);

  kml::Header header() override { return header_; }
  std::optional<std::size_t> read(std::uint64_t offset, std::span<std::byte> into) override;
  /// The kernel finds the end in the same way: what in the newest segment is no record ends it.
  [[nodiscard]] bool may_end_at(std::uint64_t offset) const override;
  [[nodiscard]] std::string warning() const override { return warning_; }

 private:
  struct Segment {
    std::string name;
    std::uint64_t base = 0;   ///< Offset of the first byte after its first block.
    std::uint64_t first = 0;  ///< Of the first record that begins in it.
    std::uint64_t first_recno = 0;
  };

  void read_control();
  std::optional<Segment> judge(const std::string& name, kml::Bytes bytes) const;
  void find_segments();
  [[nodiscard]] std::uint64_t room() const { return segment_size_ - header_.block_size; }

  std::string name_;
  ReadFile read_file_;
  std::string warning_;
  kml::Header header_;
  std::uint64_t segment_size_ = 0;
  std::uint64_t trimmed_ = 0;
  std::vector<Segment> segments_;  ///< Those that are the log, oldest first.
  std::string loaded_;             ///< The segment whose bytes are in `bytes_`.
  std::vector<std::byte> bytes_;
};

}  // namespace izo::tools
