// SPDX-License-Identifier: GPL-2.0
// Randomness as an interface, so that a simulation can repeat itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace izo {

class Random {
 public:
  Random() = default;
  Random(const Random&) = delete;
  Random& operator=(const Random&) = delete;
  virtual ~Random() = default;

  /// Overwrites `bytes` with random ones.
  virtual void fill(std::span<std::byte> bytes) = 0;

  /// Any number, each as likely as any other.
  std::uint64_t number();
  /// Any number below `bound`, which is not 0, each as likely as any other.
  std::uint64_t below(std::uint64_t bound);
};

/// The kernel's, fit for keys and tokens. Any thread. Throws SysError.
class SystemRandom final : public Random {
 public:
  void fill(std::span<std::byte> bytes) override;
};

}  // namespace izo
