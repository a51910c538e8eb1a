// SPDX-License-Identifier: GPL-2.0
// CRC-32C (Castagnoli), a byte at a time. Debian 12 packages no C++ library for it.

#include <array>

#include "kml/codec.h"

namespace izo::kml {
namespace {

constexpr std::array<std::uint32_t, 256> make_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < table.size(); i++) {
    std::uint32_t crc = i;
    for (int bit = 0; bit < 8; bit++) {
      crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78U : 0U);
    }
    table[i] = crc;
  }
  return table;
}

constexpr std::array<std::uint32_t, 256> kTable = make_table();

std::uint32_t add(std::uint32_t crc, Bytes bytes) {
  for (const std::byte byte : bytes) {
    crc = (crc >> 8) ^ kTable[(crc ^ std::to_integer<std::uint32_t>(byte)) & 0xff];
  }
  return crc;
}

}  // namespace

std::uint32_t crc32c_without(Bytes bytes, std::size_t field) {
  constexpr std::array<std::byte, sizeof(std::uint32_t)> kZero{};
  std::uint32_t crc = add(~0U, bytes.first(field));
  crc = add(crc, kZero);
  return ~add(crc, bytes.subspan(field + kZero.size()));
}

}  // namespace izo::kml
