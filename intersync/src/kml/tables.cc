// SPDX-License-Identifier: GPL-2.0
#include "kml/tables.h"

#include <algorithm>
#include <cstddef>

#include "kml/wire.h"

namespace izo::kml {
namespace {

using Buffer = std::vector<std::byte>;

/// The table of replicas is as large as the kernel makes it, or a multiple.
constexpr std::size_t kReplicasUnit = 16384;

/// The checksum of the structure of type T at `at`, whose own field is taken as 0.
template <typename T>
std::uint32_t crc_at(Bytes bytes, std::size_t at) {
  return crc32c_without(bytes.subspan(at, sizeof(T)), offsetof(T, crc));
}

template <typename T>
void seal(Buffer& out, std::size_t at, std::size_t covered) {
  const std::uint32_t crc =
      little(crc32c_without(Bytes(out).subspan(at, covered), offsetof(T, crc)));
  std::memcpy(&out[at + offsetof(T, crc)], &crc, sizeof(crc));
}

Uuid load_uuid(const __u8 (&bytes)[16]) {
  Uuid out;
  std::copy(std::begin(bytes), std::end(bytes), out.begin());
  return out;
}

}  // namespace

std::string to_string(const Uuid& uuid) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string out;
  for (std::size_t i = 0; i < uuid.size(); i++) {
    if (i == 4 || i == 6 || i == 8 || i == 10) {
      out += '-';
    }
    out += kDigits[uuid[i] >> 4];
    out += kDigits[uuid[i] & 15];
  }
  return out;
}

std::optional<Uuid> uuid_from(std::string_view text) {
  Uuid out{};
  std::size_t digits = 0;
  if (text.size() != 36) {
    return std::nullopt;
  }
  for (std::size_t i = 0; i < text.size(); i++) {
    constexpr std::string_view kDigits = "0123456789abcdef0123456789ABCDEF";
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    const std::size_t digit = kDigits.find(text[i]);
    if (dash != (text[i] == '-') || (!dash && digit == std::string_view::npos)) {
      return std::nullopt;
    }
    if (!dash) {
      std::uint8_t& byte = out[digits++ / 2];
      byte = static_cast<std::uint8_t>(std::size_t{byte} * 16 + digit % 16);
    }
  }
  return out;
}

DecodedReplicas decode_replicas(Bytes bytes) {
  if (bytes.size() < sizeof(izo_replicas)) {
    return Corrupt{"cut short"};
  }
  const auto head = load<izo_replicas>(bytes);
  Replicas out{.fileset = load_uuid(head.fileset), .self = little(head.self), .members = {}};
  const std::size_t count = little(head.count);
  if (little(head.magic) != IZO_REPLICAS_MAGIC) {
    return Corrupt{"not a table of replicas"};
  }
  if (little(head.version) != IZO_KML_VERSION) {
    return Corrupt{"version " + std::to_string(little(head.version)) + "; this program knows " +
                   std::to_string(IZO_KML_VERSION)};
  }
  if (crc_at<izo_replicas>(bytes, 0) != little(head.crc)) {
    return Corrupt{"checksum of its head"};
  }
  if (out.self == 0 || out.self > count) {
    return Corrupt{"this replica is number " + std::to_string(out.self) + " of " +
                   std::to_string(count)};
  }
  if (bytes.size() < sizeof(head) + count * sizeof(izo_replica)) {
    return Corrupt{"cut short"};
  }
  for (std::size_t i = 0; i < count; i++) {
    const std::size_t at = sizeof(head) + i * sizeof(izo_replica);
    const auto entry = load<izo_replica>(bytes.subspan(at));
    if (crc_at<izo_replica>(bytes, at) != little(entry.crc) || little(entry.index) != i + 1) {
      return Corrupt{"entry " + std::to_string(i + 1)};
    }
    out.members.push_back(load_uuid(entry.uuid));
  }
  return out;
}

std::vector<std::byte> encode(const Replicas& replicas) {
  izo_replicas head{};
  head.magic = little(std::uint64_t{IZO_REPLICAS_MAGIC});
  head.version = little(std::uint32_t{IZO_KML_VERSION});
  std::ranges::copy(replicas.fileset, head.fileset);
  head.self = little(replicas.self);
  head.count = little(static_cast<std::uint16_t>(replicas.members.size()));
  Buffer out;
  append(out, head);
  seal<izo_replicas>(out, 0, sizeof(head));
  for (std::size_t i = 0; i < replicas.members.size(); i++) {
    izo_replica entry{};
    std::ranges::copy(replicas.members[i], entry.uuid);
    entry.index = little(static_cast<std::uint16_t>(i + 1));
    const std::size_t at = out.size();
    append(out, entry);
    seal<izo_replica>(out, at, sizeof(entry));
  }
  // whole blocks of any cache, with room for the replicas that the kernel adds
  out.resize((out.size() / kReplicasUnit + 1) * kReplicasUnit);
  return out;
}

DecodedBase decode_base(Bytes bytes) {
  if (bytes.size() < sizeof(izo_base)) {
    return Corrupt{"cut short"};
  }
  const auto head = load<izo_base>(bytes);
  const std::size_t room = bytes.size() - sizeof(head);
  if (little(head.magic) != IZO_BASE_MAGIC || little(head.version) != IZO_KML_VERSION) {
    return Corrupt{"not a table of copied objects, or of another version"};
  }
  if (room % sizeof(izo_base_entry) != 0 || little(head.count) != room / sizeof(izo_base_entry)) {
    return Corrupt{"its length is not that of " + std::to_string(little(head.count)) + " entries"};
  }
  if (crc32c_without(bytes, offsetof(izo_base, crc)) != little(head.crc)) {
    return Corrupt{"checksum"};
  }
  Base out;
  for (Bytes rest = bytes.subspan(sizeof(head)); !rest.empty();
       rest = rest.subspan(sizeof(izo_base_entry))) {
    const auto entry = load<izo_base_entry>(rest);
    out.push_back({.generation = little(entry.generation), .replica = little(entry.replica)});
  }
  return out;
}

std::vector<std::byte> encode(const Base& base) {
  izo_base head{};
  head.magic = little(std::uint64_t{IZO_BASE_MAGIC});
  head.version = little(std::uint32_t{IZO_KML_VERSION});
  head.count = little(std::uint64_t{base.size()});
  Buffer out;
  append(out, head);
  for (const BaseEntry& entry : base) {
    append(out, izo_base_entry{.generation = little(entry.generation),
                               .replica = little(entry.replica),
                               .zero = 0});
  }
  seal<izo_base>(out, 0, out.size());
  return out;
}

}  // namespace izo::kml
