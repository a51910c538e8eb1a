// SPDX-License-Identifier: GPL-2.0
// The kernel's codec, kmod/kml_record.c, compiled for user space: for tests and fuzzing only.
#pragma once

#include <cstdint>
#include <string>

#include "kml/codec.h"

namespace izo::kml {

/// What izo_record_judge() says: "record", "filler", "more" or "bad".
std::string kernel_verdict(Bytes bytes);

/// What decode() says, in the same words.
std::string user_verdict(Bytes bytes);

/// The bytes of a record put together anew by the kernel's functions: its head and items, sealed
/// for the place and the block size that make it as long as it is.
std::vector<std::byte> kernel_encode(Bytes record);

}  // namespace izo::kml
