// SPDX-License-Identifier: GPL-2.0
// Bodies on their way out, as frames, piece by piece.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/error.h"
#include "daemon/body_file.h"
#include "proto/messages.h"

namespace izo::daemon {

/// The bodies of an answer to Fetch, one behind the other.
class BodySender {
 public:
  struct Sending {
    std::optional<std::shared_ptr<repl::Body>> body;  ///< As in Fetched.
    std::uint64_t number = 0;  ///< What the rest can be asked for under, if not 0.
    std::uint64_t offset = 0;  ///< How much of it is there already.
  };
  using Bodies = std::vector<Sending>;
  /// Gets the index of a body that cannot be read, and why.
  using OnUnread = std::function<void(std::size_t, const SysError&)>;

  BodySender(Bodies bodies, int zstd_level, OnUnread on_unread)
      : bodies_(std::move(bodies)), writer_(zstd_level), on_unread_(std::move(on_unread)) {}

  /// The next frames: about a piece of a body's worth; nullopt if all have been given out. A body
  /// that changed meanwhile, whose file has gone, or that cannot be read, ends as one that is not
  /// whole.
  std::optional<std::vector<std::byte>> next();

  /// The number of the body that is under way; 0: none is, or it has none.
  [[nodiscard]] std::uint64_t under_way() const { return begun_ ? bodies_[at_].number : 0; }

 private:
  void begin(std::vector<std::byte>& out, const BodyFile& body);
  void go_on(std::vector<std::byte>& out, const BodyFile& body);

  Bodies bodies_;
  proto::MessageWriter writer_;
  OnUnread on_unread_;
  std::size_t at_ = 0;        // the body that is next or under way
  bool begun_ = false;        // it is under way
  std::uint64_t offset_ = 0;  // of its next byte
};

}  // namespace izo::daemon
