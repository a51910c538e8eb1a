// SPDX-License-Identifier: GPL-2.0
#include "base/uuid.h"

#include <algorithm>
#include <span>

namespace izo {
namespace {

constexpr std::size_t kTextLength = 36;

constexpr bool has_dash(std::size_t at) {
  return at == 8 || at == 13 || at == 18 || at == 23;
}

/// -1 if it is no hexadecimal digit.
constexpr int value_of(char digit) {
  if (digit >= '0' && digit <= '9') {
    return digit - '0';
  }
  if (digit >= 'a' && digit <= 'f') {
    return digit - 'a' + 10;
  }
  return digit >= 'A' && digit <= 'F' ? digit - 'A' + 10 : -1;
}

}  // namespace

std::optional<Uuid> parse_uuid(std::string_view text) {
  if (text.size() != kTextLength) {
    return std::nullopt;
  }
  Uuid uuid;
  std::size_t digits = 0;
  for (std::size_t at = 0; at < kTextLength; at++) {
    if (has_dash(at)) {
      if (text[at] != '-') {
        return std::nullopt;
      }
      continue;
    }
    const int value = value_of(text[at]);
    if (value < 0) {
      return std::nullopt;
    }
    std::uint8_t& byte = uuid.bytes[digits / 2];
    byte = static_cast<std::uint8_t>(byte << 4 | value);
    digits++;
  }
  return uuid;
}

std::optional<Uuid> uuid_of(std::string_view raw) {
  Uuid uuid;
  if (raw.size() != uuid.bytes.size()) {
    return std::nullopt;
  }
  std::copy(raw.begin(), raw.end(), uuid.bytes.begin());
  return uuid;
}

std::string to_string(const Uuid& uuid) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  text.reserve(kTextLength);
  for (const std::uint8_t byte : uuid.bytes) {
    if (has_dash(text.size())) {
      text += '-';
    }
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

Uuid make_uuid(Random& random) {
  Uuid uuid;
  random.fill(std::as_writable_bytes(std::span(uuid.bytes)));
  uuid.bytes[6] = static_cast<std::uint8_t>((uuid.bytes[6] & 0x0f) | 0x40);
  uuid.bytes[8] = static_cast<std::uint8_t>((uuid.bytes[8] & 0x3f) | 0x80);
  return uuid;
}

}  // namespace izo
