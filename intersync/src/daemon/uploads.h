// SPDX-License-Identifier: GPL-2.0
// Bodies that clients send in pieces before the records that need them.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "base/clock.h"
#include "daemon/body_file.h"
#include "kml/tables.h"

namespace izo::daemon {

class Uploads {
 public:
  /// `clock` must live longer.
  Uploads(const Clock& clock, std::function<StagedBody()> stage)
      : clock_(clock), stage_(std::move(stage)) {}

  /// Adds a piece; 0 begins the body anew. Returns how many bytes of it are here, which tells the
  /// client where to go on: the piece is added only if it begins there. Throws SysError.
  std::uint64_t add(const kml::Uuid& client, std::uint64_t number, std::uint64_t offset,
                    Bytes piece);

  /// The body, whole, if so many bytes of it are here, else null; it is forgotten here.
  std::shared_ptr<BodyFile> take(const kml::Uuid& client, std::uint64_t number, std::uint64_t size);

 private:
  /// Of one client; a body that nobody has gone on with for that long is dropped.
  static constexpr std::size_t kMost = 1024;
  static constexpr std::chrono::minutes kKept{10};

  struct Upload {
    StagedBody body;
    std::chrono::nanoseconds touched{};
  };
  using Key = std::pair<kml::Uuid, std::uint64_t>;
  void forget_old(const kml::Uuid& client);

  const Clock& clock_;
  std::function<StagedBody()> stage_;
  std::map<Key, Upload> uploads_;
};

}  // namespace izo::daemon
