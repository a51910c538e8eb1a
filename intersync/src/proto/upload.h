// SPDX-License-Identifier: GPL-2.0
// A piece of a body that a client sends before the records that need it: one frame, as is the
// answer. The bytes are described in docs/http-protocol.md. Pure.
#pragma once

#include <cstdint>
#include <variant>
#include <vector>

#include "kml/tables.h"
#include "proto/frame.h"

namespace izo::proto {

/// Types of their frames: no message has these.
inline constexpr std::uint8_t kUploadFrame = 7;
inline constexpr std::uint8_t kUploadedFrame = 8;

/// What a piece is of, and where in it.
struct Upload {
  kml::Uuid client{};
  std::uint64_t number = 0;      ///< Of the record in the client's log.
  std::uint64_t version = 0;     ///< A random number for the body as it is.
  std::uint64_t size = 0;        ///< Bytes of the body.
  std::uint64_t offset = 0;      ///< Bytes of the body that are known to be there.
  std::uint64_t hole = 0;        ///< Zeros behind those.
  std::vector<std::byte> piece;  ///< What stands behind these.

  bool operator==(const Upload&) const = default;
};

/// Bytes of a piece at most: the rest of a frame's payload is for what it is of.
inline constexpr std::size_t kMostOfUpload = kMaxPayload - 56;

/// How many bytes of the body are on the server now: where to go on. All of one that is too large
/// for its file system, as no more is needed.
struct Uploaded {
  std::uint64_t here = 0;

  bool operator==(const Uploaded&) const = default;
};

/// Throws std::length_error if the piece is longer than kMostOfUpload.
std::vector<std::byte> encode(const Upload& upload, int zstd_level);
std::vector<std::byte> encode(const Uploaded& uploaded);

/// What these bytes say, all of which have come.
std::variant<Upload, Corrupt> decode_upload(Bytes bytes);
std::variant<Uploaded, Corrupt> decode_uploaded(Bytes bytes);

}  // namespace izo::proto
