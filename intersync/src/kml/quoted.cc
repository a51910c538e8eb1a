// SPDX-License-Identifier: GPL-2.0
#include "kml/quoted.h"

#include <algorithm>
#include <cstddef>

namespace izo::kml {
namespace {

/// The character that a text begins with; `length` 0 if it begins with none.
struct Character {
  std::size_t length = 0;
  char32_t code = 0;
};

Character first_character(std::string_view text) {
  const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(text[at]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) {
    return {1, lead};
  }
  const std::size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < length) {
    return {};
  }
  char32_t code = lead & (0x7fU >> length);
  for (std::size_t at = 1; at < length; at++) {
    if ((byte(at) & 0xc0) != 0x80) {
      return {};
    }
    code = code << 6 | (byte(at) & 0x3fU);
  }
  constexpr char32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  if (code < kLeast[length] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) {
    return {};
  }
  return {length, code};
}

/// Control characters, and those that turn the direction of writing or break a line.
bool is_unprintable(char32_t code) {
  return code < 0x20 || (code >= 0x7f && code < 0xa0) || (code >= 0x200b && code <= 0x200f) ||
         (code >= 0x2028 && code <= 0x202e) || (code >= 0x2060 && code <= 0x206f) || code == 0xfeff;
}

}  // namespace

bool is_utf8(std::string_view bytes) {
  while (!bytes.empty()) {
    const Character next = first_character(bytes);
    if (next.length == 0) {
      return false;
    }
    bytes.remove_prefix(next.length);
  }
  return true;
}

std::string quoted(std::string_view bytes) {
  std::string out;
  bool plain = !bytes.empty();
  while (!bytes.empty()) {
    const Character next = first_character(bytes);
    const std::string_view part = bytes.substr(0, std::max<std::size_t>(next.length, 1));
    bytes.remove_prefix(part.size());
    if (next.length == 0 || is_unprintable(next.code)) {
      plain = false;
      for (const char byte : part) {
        out += "\\x" + hex({&byte, 1});
      }
      continue;
    }
    if (next.code == '"' || next.code == '\\') {
      out += '\\';
    }
    plain = plain && next.code != '"' && next.code != '\\' && next.code != ' ' && next.code != '=';
    out += part;
  }
  return plain ? out : '"' + out + '"';
}

std::string hex(std::string_view bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string out;
  out.reserve(2 * bytes.size());
  for (const char byte : bytes) {
    out += kDigits[static_cast<unsigned char>(byte) >> 4];
    out += kDigits[static_cast<unsigned char>(byte) & 15];
  }
  return out;
}

}  // namespace izo::kml
