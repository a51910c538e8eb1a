// SPDX-License-Identifier: GPL-2.0
// The engine's messages as frames. A message is one frame kHead, and behind it what it has of
// records, names and bodies. The bytes are described in docs/http-protocol.md. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <variant>
#include <vector>

#include "proto/frame.h"
#include "repl/messages.h"

namespace izo::proto {

/// What is asked for; also the last part of the request's path.
enum class Kind : std::uint8_t { kHello, kPull, kList, kFetch, kPush, kDescribe };

std::string_view name_of(Kind kind);
std::optional<Kind> kind_of(std::string_view name);
Kind kind_of(const repl::Request& request);

/// Types of frames in them; upload.h has two more.
enum class Part : std::uint8_t {
  kHead = 1,
  kRecords = 2,  ///< Records as they stand in a log, one behind the other.
  kNames = 3,    ///< Entries of List.
  kBody = 4,     ///< A body begins: BodyHead.
  kData = 5,     ///< Its next bytes.
  kBodyEnd = 6,  ///< It ends: BodyEnd.
  kHole = 9,     ///< Its next bytes are zeros: Hole.
};

/// One of a message's bodies.
struct BodyHead {
  enum class State : std::uint8_t {
    kHere = 1,      ///< It follows.
    kNone = 2,      ///< There is none, and none is needed.
    kLater = 3,     ///< Ask again.
    kUploaded = 4,  ///< It was sent before, under a number.
    kRest = 5,      ///< The rest of it follows, from the offset that was asked for.
  };
  std::uint32_t index = 0;  ///< In the message's list.
  State state = State::kNone;
  std::uint64_t size = 0;  ///< Bytes.
  /// What an uploaded one was sent under; else what the rest can be asked for under, 0: nothing.
  std::uint64_t number = 0;

  bool operator==(const BodyHead&) const = default;
};

/// Whether what came is the body: it may have changed while it was sent.
struct BodyEnd {
  std::uint32_t index = 0;
  bool whole = false;

  bool operator==(const BodyEnd&) const = default;
};

/// Zeros of a body, which take no room.
struct Hole {
  std::uint64_t length = 0;  ///< At least 1.

  bool operator==(const Hole&) const = default;
};

/// The longest body: no file is longer.
inline constexpr std::uint64_t kLongestBody = std::uint64_t{INT64_MAX};

/// The longest piece of a body in one frame.
inline constexpr std::size_t kBodyPiece = std::size_t{256} << 10;

/// Messages as bytes; what is added to one `out` is one message.
class MessageWriter {
 public:
  explicit MessageWriter(int zstd_level) : frames_(zstd_level) {}

  /// All but bodies; of a Push, records up to about `most` bytes, and how many those are.
  std::size_t add(std::vector<std::byte>& out, const repl::Request& request,
                  std::size_t most = kMaxPayload);
  void add(std::vector<std::byte>& out, const repl::Response& response);

  void add(std::vector<std::byte>& out, const BodyHead& head);
  void add_data(std::vector<std::byte>& out, Bytes data);
  void add(std::vector<std::byte>& out, const Hole& hole);
  void add(std::vector<std::byte>& out, const BodyEnd& end);

 private:
  std::size_t add_records(std::vector<std::byte>& out, std::span<const kml::Record> records,
                          std::size_t most);
  void add_names(std::vector<std::byte>& out, std::span<const repl::Listed::Entry> entries);

  FrameWriter frames_;
};

/// The head of a request: its lists of records and bodies are empty yet.
std::variant<repl::Request, Corrupt> decode_request(Kind kind, Bytes payload);
/// Likewise of the answer to such a request; `Fetched` has as many bodies as it says, none there.
std::variant<repl::Response, Corrupt> decode_response(Kind kind, Bytes payload);
std::variant<std::vector<kml::Record>, Corrupt> decode_records(Bytes payload);
std::variant<std::vector<repl::Listed::Entry>, Corrupt> decode_names(Bytes payload);
std::variant<BodyHead, Corrupt> decode_body_head(Bytes payload);
std::variant<Hole, Corrupt> decode_hole(Bytes payload);
std::variant<BodyEnd, Corrupt> decode_body_end(Bytes payload);

}  // namespace izo::proto
