// SPDX-License-Identifier: GPL-2.0
#include "base/random.h"

#include <sys/random.h>

#include <cerrno>
#include <limits>

#include "base/error.h"

namespace izo {

std::uint64_t Random::number() {
  std::uint64_t value = 0;
  fill(std::as_writable_bytes(std::span(&value, 1)));
  return value;
}

std::uint64_t Random::below(std::uint64_t bound) {
  // What is left of 2^64 after the last whole multiple of the bound would favour small numbers.
  constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();
  const std::uint64_t last = kMost - (kMost % bound + 1) % bound;
  for (;;) {
    const std::uint64_t value = number();
    if (value <= last) {
      return value % bound;
    }
  }
}

void SystemRandom::fill(std::span<std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t got = ::getrandom(bytes.data(), bytes.size(), 0);
    if (got < 0 && errno == EINTR) {
      continue;
    }
    bytes = bytes.subspan(static_cast<std::size_t>(checked(got, "getrandom")));
  }
}

}  // namespace izo
