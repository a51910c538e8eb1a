// SPDX-License-Identifier: GPL-2.0
// What server and client have agreed on besides the forms of messages.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

#include "http/message.h"

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
static_assert(kUploadPiece <= http::kMaxRequestBody);

/// Of a client, bytes of an answer: bodies are bounded by the disk only.
inline constexpr std::uint64_t kMostOfAnswer = std::uint64_t{1} << 50;

/// The fastest that compresses.
inline constexpr int kZstdLevel = 1;

}  // namespace izo::daemon
