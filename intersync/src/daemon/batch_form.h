// SPDX-License-Identifier: GPL-2.0
// A batch of operations as the bytes that IZO_IOC_REINT takes. Pure, but that descriptors of bodies
// are in them.
#pragma once

#include <cstddef>
#include <vector>

#include "repl/replica.h"

namespace izo::daemon {

/// The operations, one behind the other. Records are as short as they can be, and stand where they
/// end in the peer's log, so that the position behind them is the peer's. Throws std::length_error
/// for one that does not fit.
std::vector<std::byte> operations_of(const repl::Batch& batch);

}  // namespace izo::daemon
