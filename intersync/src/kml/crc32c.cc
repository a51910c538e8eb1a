// SPDX-License-Identifier: GPL-2.0
// CRC-32C (Castagnoli), eight bytes at a time ("slicing by 8"): bodies go through it too. Debian 12
// packages no C++ library for it.

#include <array>

#include "kml/codec.h"
#include "kml/wire.h"

namespace izo::kml {
namespace {

using Table = std::array<std::uint32_t, 256>;

/// tables[n][b]: what a byte b does to the sum when n more bytes come after it.
constexpr std::array<Table, 8> make_tables() {
  std::array<Table, 8> tables{};
  for (std::uint32_t i = 0; i < 256; i++) {
    std::uint32_t crc = i;
    for (int bit = 0; bit < 8; bit++) {
      crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78U : 0U);
    }
    tables[0][i] = crc;
  }
  for (std::size_t n = 1; n < tables.size(); n++) {
    for (std::size_t i = 0; i < 256; i++) {
      const std::uint32_t before = tables[n - 1][i];
      tables[n][i] = (before >> 8) ^ tables[0][before & 0xff];
    }
  }
  return tables;
}

constexpr std::array<Table, 8> kTables = make_tables();

std::uint32_t add(std::uint32_t crc, Bytes bytes) {
  for (; bytes.size() >= 8; bytes = bytes.subspan(8)) {
    const std::uint64_t word = little(load<std::uint64_t>(bytes)) ^ crc;
    crc = 0;
    for (std::size_t n = 0; n < 8; n++) {
      crc ^= kTables[7 - n][(word >> (8 * n)) & 0xff];
    }
  }
  for (const std::byte byte : bytes) {
    crc = (crc >> 8) ^ kTables[0][(crc ^ std::to_integer<std::uint32_t>(byte)) & 0xff];
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
