// SPDX-License-Identifier: GPL-2.0
// The tables beside a log that say who the replicas are and who made what a copied disk came with:
// `replicas` (struct izo_replicas) and `base` (struct izo_base). Pure.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "kml/codec.h"

namespace izo::kml {

using Uuid = std::array<std::uint8_t, 16>;

/// As it is usually written: 36 characters in lower case.
std::string to_string(const Uuid& uuid);

/// From 36 characters; nullopt if they are no UUID.
std::optional<Uuid> uuid_from(std::string_view text);

/// The replicas of a fileset as one of them knows them.
struct Replicas {
  Uuid fileset{};
  std::uint16_t self = 0;     ///< Index of this replica, from 1.
  std::vector<Uuid> members;  ///< The one at position K has the index K + 1.

  bool operator==(const Replicas&) const = default;
};

/// Why a table is not one, in one line without a full stop; as Corrupt of a record.
using DecodedReplicas = std::variant<Replicas, Corrupt>;

/// The file's bytes; what follows the table is not looked at.
DecodedReplicas decode_replicas(Bytes bytes);
std::vector<std::byte> encode(const Replicas& replicas);

/// Who made an object that came with a copy: the one whose inode number is the entry's position.
struct BaseEntry {
  std::uint32_t generation = 0;
  std::uint16_t replica = 0;  ///< 0: no object.

  bool operator==(const BaseEntry&) const = default;
};

using Base = std::vector<BaseEntry>;
using DecodedBase = std::variant<Base, Corrupt>;

/// The file's bytes, all of them.
DecodedBase decode_base(Bytes bytes);
std::vector<std::byte> encode(const Base& base);

}  // namespace izo::kml
