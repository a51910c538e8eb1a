// SPDX-License-Identifier: GPL-2.0
// A log read in pieces of any size: the header, then records in their order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <variant>
#include <vector>

#include "kml/codec.h"

namespace izo::kml {

/// Where a reader stands: records before `offset` were given out, the next has the number `recno`.
struct Position {
  std::uint64_t epoch = 0;
  std::uint64_t offset = 0;
  std::uint64_t recno = 0;

  bool operator==(const Position&) const = default;
};

/// Records from a stream of bytes. Checks what a record by itself cannot tell: that it stands where
/// it says, belongs to the epoch and follows the record before. After Corrupt it gives nothing
/// else.
class StreamReader {
 public:
  /// Begins with the log's header.
  StreamReader() = default;
  /// Begins with the record at `position`. With `recno` 0 the first record may have any number.
  explicit StreamReader(const Position& position) : header_due_(false), position_(position) {}

  /// Adds the bytes that come next.
  void feed(Bytes bytes);

  using Next = std::variant<Record, NeedMore, Corrupt>;

  /// The next record; fillers are skipped. NeedMore counts from the first byte not used yet.
  Next next();

  /// The header, once its bytes have come and next() was asked; empty if reading began after it.
  [[nodiscard]] const std::optional<Header>& header() const { return header_; }
  /// Where the first byte not used yet stands.
  [[nodiscard]] const Position& position() const { return position_; }
  /// Bytes fed and not used yet.
  [[nodiscard]] std::size_t waiting() const { return buffer_.size() - used_; }

 private:
  Next stop(const Corrupt& corrupt);
  /// nullopt: the header is read and right.
  std::optional<Next> read_header();

  std::vector<std::byte> buffer_;
  std::size_t used_ = 0;
  bool header_due_ = true;
  std::optional<Header> header_;
  Position position_;
  std::optional<Corrupt> corrupt_;
};

}  // namespace izo::kml
