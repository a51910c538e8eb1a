// SPDX-License-Identifier: GPL-2.0
#include "kml/received.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <stdexcept>
#include <string>

#include "kml/wire.h"

namespace izo::kml {
namespace {

/// One copy of the table, and the serial of its first slot; 0 if nothing was written there.
struct Copy {
  std::uint64_t serial = 0;
  std::vector<ReceivedSlot> slots;
};

Copy decode_copy(Bytes bytes) {
  Copy out;
  bool ended = false;  // slots are filled from the first on
  for (std::size_t at = 0; at + sizeof(izo_rcvd_slot) <= bytes.size();
       at += sizeof(izo_rcvd_slot)) {
    const Bytes raw = bytes.subspan(at, sizeof(izo_rcvd_slot));
    const auto slot = load<izo_rcvd_slot>(raw);
    const bool good = little(slot.magic) == IZO_RCVD_MAGIC &&
                      crc32c_without(raw, offsetof(izo_rcvd_slot, crc)) == little(slot.crc);
    if (std::ranges::all_of(raw, [](std::byte byte) { return byte == std::byte{}; })) {
      ended = true;
      continue;
    }
    if (ended || !good) {
      return {};
    }
    out.serial = little(slot.serial);
    ReceivedSlot one{.epoch = little(slot.epoch),
                     .recno = little(slot.recno),
                     .offset = little(slot.offset),
                     .outcome = little(slot.outcome),
                     .flags = little(slot.flags)};
    std::copy(std::begin(slot.replica), std::end(slot.replica), one.replica.begin());
    out.slots.push_back(one);
  }
  return out;
}

}  // namespace

DecodedReceived decode_received(Bytes bytes) {
  if (bytes.empty() || bytes.size() % IZO_RCVD_COPIES != 0) {
    return Corrupt{"a length of " + std::to_string(bytes.size()) + " bytes"};
  }
  const std::size_t size = bytes.size() / IZO_RCVD_COPIES;
  Copy newest;
  for (std::size_t i = 0; i < IZO_RCVD_COPIES; i++) {
    Copy copy = decode_copy(bytes.subspan(i * size, size));
    if (copy.serial > newest.serial) {
      newest = std::move(copy);
    }
  }
  return std::move(newest.slots);
}

std::vector<std::byte> encode_received(std::span<const ReceivedSlot> slots,
                                       std::size_t copy_bytes) {
  if (slots.size() * sizeof(izo_rcvd_slot) > copy_bytes) {
    throw std::length_error("positions of " + std::to_string(slots.size()) + " peers");
  }
  std::vector<std::byte> out(copy_bytes * IZO_RCVD_COPIES);
  std::size_t at = 0;
  for (const ReceivedSlot& slot : slots) {
    izo_rcvd_slot raw{};
    raw.magic = little(std::uint32_t{IZO_RCVD_MAGIC});
    std::copy(slot.replica.begin(), slot.replica.end(), std::begin(raw.replica));
    raw.epoch = little(slot.epoch);
    raw.recno = little(slot.recno);
    raw.offset = little(slot.offset);
    raw.serial = little(std::uint64_t{1});
    raw.outcome = little(slot.outcome);
    raw.flags = little(slot.flags);
    raw.crc =
        little(crc32c_without(std::as_bytes(std::span(&raw, 1)), offsetof(izo_rcvd_slot, crc)));
    std::memcpy(&out[at], &raw, sizeof(raw));
    at += sizeof(raw);
  }
  return out;
}

}  // namespace izo::kml
