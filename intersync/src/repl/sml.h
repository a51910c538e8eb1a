// SPDX-License-Identifier: GPL-2.0
// The SML: what an object of the tree is, as records that make it on a replica which begins. Pure.
#pragma once

#include <cstdint>
#include <vector>

#include "repl/replica.h"

namespace izo::repl {

/// Records that make an object with one name, or give the root what it has; of a file with anything
/// in it a CLOSE is the second, and flags that keep an object from being changed are the last.
/// Their numbers mean nothing. `name` is not looked at for the root; `at`: where the log of the
/// replica `origin` is.
std::vector<Record> sml_of(const Fid& fid, const Name& name, const Portrait& portrait,
                           const Received& at, std::uint16_t origin);

/// Of those that are there only what `valid` names: the others must be 0.
kml::Attr part_of(const kml::Attr& attr, std::uint32_t valid);

/// Is it one that keeps its object from being changed? Then it is applied when all else is there.
bool seals(const Record& record);
/// The same without that.
void unseal(Record& record);

}  // namespace izo::repl
