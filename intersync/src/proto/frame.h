// SPDX-License-Identifier: GPL-2.0
// Frames: how several messages follow each other in one body of application/octet-stream. The bytes
// are described in docs/http-protocol.md. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

namespace izo::proto {

using Bytes = std::span<const std::byte>;

/// The longest payload of a frame, before compression and as sent: what is longer goes in several.
inline constexpr std::size_t kMaxPayload = std::size_t{4} << 20;
inline constexpr std::size_t kFrameHead = 24;

struct Frame {
  std::uint8_t type = 0;  ///< What it is; the message's user says.
  std::vector<std::byte> payload;

  bool operator==(const Frame&) const = default;
};

/// More bytes must come; `at_least` from the first one not used yet.
struct NeedMore {
  std::size_t at_least = 0;

  bool operator==(const NeedMore&) const = default;
};

/// It is no frame; `what` says why, in one line without a full stop.
struct Corrupt {
  std::string what;

  bool operator==(const Corrupt&) const = default;
};

/// Makes frames. Keeps what zstd needs from one to the next.
class FrameWriter {
 public:
  /// `level` as zstd has it; 0: nothing is compressed.
  explicit FrameWriter(int level);
  ~FrameWriter();
  FrameWriter(const FrameWriter&) = delete;
  FrameWriter& operator=(const FrameWriter&) = delete;

  /// Adds a frame to `out`: compressed if that makes it shorter. Throws std::length_error beyond
  /// kMaxPayload.
  void add(std::vector<std::byte>& out, std::uint8_t type, Bytes payload);

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

/// Frames from a stream in pieces of any size. Nothing that comes makes it throw, or use more than
/// about kMaxPayload of memory beyond what was fed and not read: a payload is decompressed into its
/// own place, which is as long as its head says, so whatever window it asks for takes no memory.
class FrameReader {
 public:
  /// `most`: bytes of all payloads together; more is corrupt.
  explicit FrameReader(std::uint64_t most);
  ~FrameReader();
  FrameReader(const FrameReader&) = delete;
  FrameReader& operator=(const FrameReader&) = delete;

  /// Adds the bytes that come next.
  void feed(Bytes bytes);

  using Next = std::variant<Frame, NeedMore, Corrupt>;

  /// The next frame. After Corrupt nothing else.
  Next next();

  /// Bytes fed and not used yet: at the end of the stream there must be none.
  [[nodiscard]] std::size_t waiting() const { return buffer_.size() - used_; }

 private:
  struct Context;
  Next stop(std::string what);
  Next take(Bytes frame);

  std::unique_ptr<Context> context_;
  std::uint64_t left_;
  std::uint64_t offset_ = 0;  // in the stream, of the first byte not used yet
  std::vector<std::byte> buffer_;
  std::size_t used_ = 0;
  std::optional<Corrupt> corrupt_;
};

}  // namespace izo::proto
