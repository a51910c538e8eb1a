// SPDX-License-Identifier: GPL-2.0
// Parts of a body, as Range and Content-Range write them. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace izo::http {

/// From the byte `first` to the byte `last`, which is part of it; without `last` to the end.
struct ByteRange {
  std::uint64_t first = 0;
  std::optional<std::uint64_t> last;

  bool operator==(const ByteRange&) const = default;
};

/// "first-last" or "first-".
std::string to_string(const ByteRange& range);

/// The value of a Range field: "bytes=first-last" or "bytes=first-". nullopt for anything else,
/// also for what HTTP knows and we do not (several ranges, the last so many bytes): the whole body
/// is the right answer to those.
std::optional<ByteRange> parse_range(std::string_view value);

/// A part of something that has `length` bytes.
struct Part {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;

  bool operator==(const Part&) const = default;
};

/// What a range is of a body of `size` bytes; nullopt if it begins behind its end (status 416).
std::optional<Part> part_of(const ByteRange& range, std::uint64_t size);

struct ContentRange {
  std::uint64_t first = 0;
  std::uint64_t last = 0;
  std::optional<std::uint64_t> size;  ///< Of the whole body, if the server knows it.

  bool operator==(const ContentRange&) const = default;
};

/// The value of a Content-Range field: "bytes first-last/size" or "bytes first-last/*".
std::optional<ContentRange> parse_content_range(std::string_view value);

/// That value; `part` is not empty.
std::string content_range(const Part& part, std::uint64_t size);

}  // namespace izo::http
