// SPDX-License-Identifier: GPL-2.0
#include "http/target.h"

#include <algorithm>

namespace izo::http {
namespace {

bool is_unreserved(char letter) {
  return (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') ||
         (letter >= '0' && letter <= '9') || letter == '-' || letter == '.' || letter == '_' ||
         letter == '~';
}

int value_of(char digit) {
  if (digit >= '0' && digit <= '9') {
    return digit - '0';
  }
  if (digit >= 'a' && digit <= 'f') {
    return digit - 'a' + 10;
  }
  return digit >= 'A' && digit <= 'F' ? digit - 'A' + 10 : -1;
}

bool is_control(char letter) {
  const auto byte = static_cast<unsigned char>(letter);
  return byte < 0x20 || byte == 0x7f;
}

/// Without percent signs; nullopt if one is wrong, or a character stands there that must have been
/// encoded.
std::optional<std::string> decode(std::string_view text) {
  std::string result;
  for (std::size_t at = 0; at < text.size(); at++) {
    char letter = text[at];
    if (letter == '%') {
      const int high = at + 2 < text.size() ? value_of(text[at + 1]) : -1;
      const int low = at + 2 < text.size() ? value_of(text[at + 2]) : -1;
      if (high < 0 || low < 0) {
        return std::nullopt;
      }
      letter = static_cast<char>(high << 4 | low);
      at += 2;
    } else if (static_cast<unsigned char>(letter) <= 0x20 ||
               static_cast<unsigned char>(letter) >= 0x7f || letter == '#') {
      return std::nullopt;
    }
    if (is_control(letter)) {
      return std::nullopt;
    }
    result += letter;
  }
  return result;
}

void encode(std::string& out, std::string_view text) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  for (const char letter : text) {
    if (is_unreserved(letter)) {
      out += letter;
    } else {
      const auto byte = static_cast<unsigned char>(letter);
      out.append(1, '%').append(1, kDigits[byte >> 4]).append(1, kDigits[byte & 15]);
    }
  }
}

/// The text before the first `separator`, which is taken off the front with it.
std::string_view take_until(std::string_view& text, char separator) {
  const std::size_t end = std::min(text.find(separator), text.size());
  const std::string_view part = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return part;
}

bool add_component(Target& target, std::string_view text) {
  std::optional<std::string> component = decode(text);
  if (!component || component->empty() || *component == "." || *component == ".." ||
      component->find('/') != std::string::npos || target.path.size() == kMaxParts) {
    return false;
  }
  target.path.push_back(*std::move(component));
  return true;
}

bool add_pair(Target& target, std::string_view text) {
  const std::optional<std::string> key = decode(take_until(text, '='));
  std::optional<std::string> value = decode(text);
  if (!key || key->empty() || !value || target.value(*key) != nullptr ||
      target.query.size() == kMaxParts) {
    return false;
  }
  target.query.emplace_back(*key, *std::move(value));
  return true;
}

}  // namespace

const std::string* Target::value(std::string_view key) const {
  const auto found =
      std::find_if(query.begin(), query.end(), [&](const auto& pair) { return pair.first == key; });
  return found == query.end() ? nullptr : &found->second;
}

std::optional<Target> parse_target(std::string_view text) {
  if (text.size() > kMaxTarget || !text.starts_with('/') || text.ends_with('?')) {
    return std::nullopt;
  }
  Target target;
  text.remove_prefix(1);
  std::string_view path = take_until(text, '?');
  if (path.ends_with('/') || text.ends_with('&')) {
    return std::nullopt;
  }
  do {
    if (!add_component(target, take_until(path, '/'))) {
      return std::nullopt;
    }
  } while (!path.empty());
  while (!text.empty()) {
    if (!add_pair(target, take_until(text, '&'))) {
      return std::nullopt;
    }
  }
  return target;
}

std::string to_string(const Target& target) {
  std::string text;
  for (const std::string& component : target.path) {
    text += '/';
    encode(text, component);
  }
  char separator = '?';
  for (const auto& [key, value] : target.query) {
    text += separator;
    encode(text, key);
    text += '=';
    encode(text, value);
    separator = '&';
  }
  return text;
}

}  // namespace izo::http
