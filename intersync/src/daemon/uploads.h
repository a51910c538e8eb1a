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
#include "proto/upload.h"

namespace izo::daemon {

class Uploads {
 public:
  /// Bodies of all clients together: whoever asks says which client it is, so there may be many.
  static constexpr std::size_t kMostOfAll = 4096;

  /// `clock` must live longer.
  Uploads(const Clock& clock, std::function<StagedBody()> stage,
          std::size_t most_of_all = kMostOfAll)
      : clock_(clock), stage_(std::move(stage)), most_of_all_(most_of_all) {}

  /// Adds a piece; offset 0 begins the body anew, as what the version says. Returns how many bytes
  /// of it are here, which tells the client where to go on: the piece is added only if it begins
  /// there, and is of the same version; of another one nothing is here. One that is too large for a
  /// file here counts as here. Throws SysError.
  std::uint64_t add(const proto::Upload& piece);

  /// The body, whole, if so many bytes of it are here, else null. No more can be added.
  std::shared_ptr<BodyFile> whole(const kml::Uuid& client, std::uint64_t number,
                                  std::uint64_t size);

  /// Bodies of records up to that number are not needed any more.
  void forget(const kml::Uuid& client, std::uint64_t number);
  /// Drops what nobody has gone on with for ten minutes.
  void forget_old();

 private:
  /// Of one client; a body that nobody has gone on with for that long is dropped.
  static constexpr std::size_t kMost = 1024;
  static constexpr std::chrono::minutes kKept{10};

  struct Upload {
    StagedBody body;
    std::uint64_t version = 0;
    std::shared_ptr<BodyFile> whole;  ///< Then `body` is empty.
    std::chrono::nanoseconds touched{};
  };
  using Key = std::pair<kml::Uuid, std::uint64_t>;
  void make_room(const kml::Uuid& client);

  const Clock& clock_;
  std::function<StagedBody()> stage_;
  std::size_t most_of_all_;
  std::map<Key, Upload> uploads_;
};

}  // namespace izo::daemon
