// SPDX-License-Identifier: GPL-2.0
// The fields of a message: little-endian integers, byte strings with their length, one behind the
// other without padding. Pure.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kml/record.h"
#include "kml/tables.h"

namespace izo::proto {

class FieldWriter {
 public:
  template <std::unsigned_integral T>
  void number(T value) {
    for (std::size_t i = 0; i < sizeof(T); i++) {
      bytes_.push_back(static_cast<std::byte>(value >> (8 * i)));
    }
  }
  void uuid(const kml::Uuid& uuid);
  void fid(const kml::Fid& fid);
  /// At most 65535 bytes.
  void text(std::string_view text);
  void table(const std::vector<kml::Uuid>& table);
  /// The last field: all that comes behind it belongs to it.
  void bytes_to_the_end(std::span<const std::byte> bytes);

  [[nodiscard]] const std::vector<std::byte>& bytes() const { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

/// Reads what FieldWriter wrote. Beyond the end everything is 0 or empty, and ended() is false.
class FieldReader {
 public:
  explicit FieldReader(std::span<const std::byte> bytes) : rest_(bytes) {}

  template <std::unsigned_integral T>
  T number() {
    T value = 0;
    const std::span<const std::byte> bytes = take(sizeof(T));
    for (std::size_t i = 0; i < bytes.size(); i++) {
      value = static_cast<T>(value | static_cast<T>(std::to_integer<T>(bytes[i]) << (8 * i)));
    }
    return value;
  }
  /// Not one of zeros, which names nobody.
  kml::Uuid uuid();
  kml::Fid fid();
  std::string text();
  std::vector<kml::Uuid> table();
  /// One byte, 0 or 1.
  bool flag();
  /// All that is left; of what is read.
  std::span<const std::byte> bytes_to_the_end() { return take(rest_.size()); }

  /// What was read may not be: as if it ended before.
  void refuse() { short_ = true; }

  /// Was something read that was not there, or that may not be?
  [[nodiscard]] bool is_short() const { return short_; }
  /// Was everything there, and nothing more?
  [[nodiscard]] bool ended() const { return !short_ && rest_.empty(); }
  /// Is there more to read?
  [[nodiscard]] bool has_more() const { return !short_ && !rest_.empty(); }

 private:
  /// So many bytes, or none.
  std::span<const std::byte> take(std::size_t size);

  std::span<const std::byte> rest_;
  bool short_ = false;
};

}  // namespace izo::proto
