// SPDX-License-Identifier: GPL-2.0
#include "proto/fields.h"

#include <algorithm>
#include <limits>
#include <stdexcept>

namespace izo::proto {

void FieldWriter::uuid(const kml::Uuid& uuid) {
  for (const std::uint8_t byte : uuid) {
    number(byte);
  }
}

void FieldWriter::fid(const kml::Fid& fid) {
  number(fid.replica);
  number(fid.ino);
  number(fid.generation);
}

void FieldWriter::text(std::string_view text) {
  if (text.size() > std::numeric_limits<std::uint16_t>::max()) {
    throw std::length_error("a text of more than 65535 bytes");
  }
  number(static_cast<std::uint16_t>(text.size()));
  const auto* bytes = reinterpret_cast<const std::byte*>(text.data());
  bytes_.insert(bytes_.end(), bytes, bytes + text.size());
}

void FieldWriter::table(const std::vector<kml::Uuid>& table) {
  number(static_cast<std::uint16_t>(table.size()));
  for (const kml::Uuid& one : table) {
    uuid(one);
  }
}

void FieldWriter::bytes_to_the_end(std::span<const std::byte> bytes) {
  bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
}

std::span<const std::byte> FieldReader::take(std::size_t size) {
  if (short_ || rest_.size() < size) {
    short_ = true;
    return {};
  }
  const std::span<const std::byte> out = rest_.first(size);
  rest_ = rest_.subspan(size);
  return out;
}

kml::Uuid FieldReader::uuid() {
  kml::Uuid out{};
  std::ranges::transform(take(out.size()), out.begin(),
                         [](std::byte byte) { return std::to_integer<std::uint8_t>(byte); });
  if (out == kml::Uuid{}) {
    refuse();
  }
  return out;
}

kml::Fid FieldReader::fid() {
  kml::Fid out;
  out.replica = number<std::uint16_t>();
  out.ino = number<std::uint64_t>();
  out.generation = number<std::uint32_t>();
  return out;
}

std::string FieldReader::text() {
  const std::span<const std::byte> bytes = take(number<std::uint16_t>());
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::vector<kml::Uuid> FieldReader::table() {
  const std::span<const std::byte> bytes = take(number<std::uint16_t>() * sizeof(kml::Uuid));
  FieldReader entries(bytes);
  std::vector<kml::Uuid> out;
  while (entries.has_more()) {
    out.push_back(entries.uuid());
  }
  if (entries.is_short()) {
    refuse();
  }
  return out;
}

bool FieldReader::flag() {
  const auto value = number<std::uint8_t>();
  if (value > 1) {
    refuse();
  }
  return value == 1;
}

}  // namespace izo::proto
