// SPDX-License-Identifier: GPL-2.0
// What server and client have agreed on besides the forms of messages.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

#include "http/message.h"
#include "proto/messages.h"
#include "proto/upload.h"

namespace izo::daemon {

inline constexpr std::uint16_t kDefaultPort = 7733;

/// A request without news is answered after that time all the same.
inline constexpr std::chrono::seconds kLongestPoll{50};

/// Bytes of a request's frames, decompressed.
inline constexpr std::uint64_t kMostOfRequest = std::uint64_t{64} << 20;

/// Records in one Push, in bytes; and bodies that come with them. What is larger is uploaded
/// before.
inline constexpr std::size_t kMostRecords = std::size_t{1} << 20;
inline constexpr std::size_t kMostBodies = std::size_t{2} << 20;
static_assert(kMostRecords + kMostBodies + (std::size_t{512} << 10) < http::kMaxRequestBody);

/// Records in one Push, in number: each may have a body that the server has to stage.
inline constexpr std::size_t kMostPushed = 1024;

/// A piece of an upload.
inline constexpr std::size_t kUploadPiece = std::size_t{3} << 20;
static_assert(kUploadPiece <= proto::kMostOfUpload);
static_assert(kUploadPiece + (std::size_t{1} << 10) < http::kMaxRequestBody);

/// Bytes of an answer's frames, decompressed: what a client takes of a server that does not end.
/// All but bodies, which go to the disk, comes to lie in memory; what a server has to say fits.
constexpr std::uint64_t most_of_answer(proto::Kind kind) {
  constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
  switch (kind) {
    case proto::Kind::kPush:
      break;
    case proto::Kind::kHello:
      return 2 * kMiB;  // a table of all replicas that an index can name: 1 MiB
    case proto::Kind::kPull:
      return 16 * kMiB;  // such a table, and what is read of a log at once
    case proto::Kind::kList:
      return 1024 * kMiB;
    case proto::Kind::kDescribe:
      // The last object may have all attributes that Linux lets it have: 64 KiB of names, each with
      // 64 KiB.
      return 1024 * kMiB;
    case proto::Kind::kFetch:
      return std::uint64_t{1} << 50;
  }
  return kMiB / 8;  // a position and a text
}

/// Bytes of an answer besides those: heads of frames.
inline constexpr std::uint64_t kMostOfHeads = std::uint64_t{1} << 20;

/// The fastest that compresses.
inline constexpr int kZstdLevel = 1;

}  // namespace izo::daemon
