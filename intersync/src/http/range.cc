// SPDX-License-Identifier: GPL-2.0
#include "http/range.h"

#include <algorithm>
#include <charconv>
#include <limits>

namespace izo::http {
namespace {

/// A number of digits alone; takes it off the front.
std::optional<std::uint64_t> take_number(std::string_view& text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) {
    return std::nullopt;
  }
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return value;
}

bool take(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) {
    return false;
  }
  text.remove_prefix(prefix.size());
  return true;
}

}  // namespace

std::string to_string(const ByteRange& range) {
  return std::to_string(range.first) + "-" + (range.last ? std::to_string(*range.last) : "");
}

std::optional<ByteRange> parse_range(std::string_view value) {
  if (!take(value, "bytes=")) {
    return std::nullopt;
  }
  const std::optional<std::uint64_t> first = take_number(value);
  if (!first || !take(value, "-")) {
    return std::nullopt;
  }
  if (value.empty()) {
    return ByteRange{*first, std::nullopt};
  }
  const std::optional<std::uint64_t> last = take_number(value);
  if (!last || !value.empty() || *last < *first) {
    return std::nullopt;
  }
  return ByteRange{*first, last};
}

std::optional<Part> part_of(const ByteRange& range, std::uint64_t size) {
  if (range.first >= size) {
    return std::nullopt;
  }
  const std::uint64_t last = std::min(range.last.value_or(size - 1), size - 1);
  return Part{range.first, last - range.first + 1};
}

std::optional<ContentRange> parse_content_range(std::string_view value) {
  if (!take(value, "bytes ")) {
    return std::nullopt;
  }
  const std::optional<std::uint64_t> first = take_number(value);
  if (!first || !take(value, "-")) {
    return std::nullopt;
  }
  const std::optional<std::uint64_t> last = take_number(value);
  if (!last || *last < *first || *last == std::numeric_limits<std::uint64_t>::max() ||
      !take(value, "/")) {
    return std::nullopt;
  }
  if (value == "*") {
    return ContentRange{*first, *last, std::nullopt};
  }
  const std::optional<std::uint64_t> size = take_number(value);
  if (!size || !value.empty() || *size <= *last) {
    return std::nullopt;
  }
  return ContentRange{*first, *last, size};
}

std::string content_range(const Part& part, std::uint64_t size) {
  return "bytes " + std::to_string(part.offset) + "-" +
         std::to_string(part.offset + part.length - 1) + "/" + std::to_string(size);
}

}  // namespace izo::http
