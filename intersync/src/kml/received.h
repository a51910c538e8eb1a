// SPDX-License-Identifier: GPL-2.0
// How far other replicas' logs have been applied: the file last_rcvd (struct izo_rcvd_slot). Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <variant>
#include <vector>

#include "kml/codec.h"
#include "kml/tables.h"

namespace izo::kml {

/// One peer's log, applied up to a record.
struct ReceivedSlot {
  Uuid replica{};
  std::uint64_t epoch = 0;
  std::uint64_t recno = 0;
  std::uint64_t offset = 0;   ///< End of that record there.
  std::uint32_t outcome = 0;  ///< Of that record.
  std::uint32_t flags = 0;    ///< IZO_RCVD_*.

  bool operator==(const ReceivedSlot&) const = default;
};

using DecodedReceived = std::variant<std::vector<ReceivedSlot>, Corrupt>;

/// The file's bytes, all of them: of its copies the newest. A damaged slot makes its copy count as
/// not written, as for the kernel; Corrupt only if the length is that of no such file.
DecodedReceived decode_received(Bytes bytes);

/// A file with these slots in its first copy, of `copy_bytes` bytes each. Throws std::length_error
/// if they do not fit.
std::vector<std::byte> encode_received(std::span<const ReceivedSlot> slots, std::size_t copy_bytes);

}  // namespace izo::kml
