// SPDX-License-Identifier: GPL-2.0
// Records of the log from bytes and to bytes. Pure: no files, no clock, no state; no exception for
// any input.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "kml/record.h"

namespace izo::kml {

using Bytes = std::span<const std::byte>;

/// CRC-32C as RFC 3720 has it, of `bytes` with the 4 bytes at `field` taken as zero.
std::uint32_t crc32c_without(Bytes bytes, std::size_t field);

/// The bytes are the beginning of something; `at_least` of them are needed to go on.
struct NeedMore {
  std::size_t at_least = 0;

  bool operator==(const NeedMore&) const = default;
};

/// The bytes are no record; `what` says why, in one line without a full stop.
struct Corrupt {
  std::string what;

  bool operator==(const Corrupt&) const = default;
};

using Decoded = std::variant<Record, Filler, NeedMore, Corrupt>;

/// What do these bytes begin with? A record or a filler takes `length` bytes of them. It is judged
/// by itself: whether offset, epoch and number are those expected is for StreamReader to say. Takes
/// the same for a record as izo_record_judge() of the kernel. Allocates no more than the input is
/// long.
Decoded decode(Bytes bytes);

/// The bytes of a record, exactly `record.length` of them if that is not 0 (the rest is a PAD
/// item). Does not check the rules: decode() does. Throws std::length_error if the record does not
/// fit into its length, or into IZO_KML_RECORD_MAX.
std::vector<std::byte> encode(const Record& record);

/// The bytes of a filler; those between its head and its tail are 0.
/// Throws std::length_error for a length that no filler has.
std::vector<std::byte> encode(const Filler& filler);

using DecodedHeader = std::variant<Header, NeedMore, Corrupt>;

/// The header of a log.
DecodedHeader decode_header(Bytes bytes);

/// Its bytes.
std::vector<std::byte> encode(const Header& header);

}  // namespace izo::kml
