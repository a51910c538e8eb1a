// SPDX-License-Identifier: GPL-2.0
// One message from the frames of an HTTP body that comes in pieces; its bodies go straight to the
// disk.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "daemon/body_file.h"
#include "proto/messages.h"

namespace izo::daemon {

/// Where bodies go, and where those are that came before.
struct BodyStore {
  std::function<StagedBody()> stage;
  /// The body that the client uploaded under that number, and is as long; null if there is none.
  std::function<std::shared_ptr<repl::Body>(const kml::Uuid& client, std::uint64_t number,
                                            std::uint64_t size)>
      uploaded;
  /// What came before of the body at that place of a Fetch, under that number; nullopt: nothing.
  std::function<std::optional<StagedBody>(std::uint32_t index, std::uint64_t number)> begun;
};

class MessageReader {
 public:
  using Message = std::variant<repl::Request, repl::Response>;
  enum class Side { kRequest, kResponse };

  /// Takes as many bytes of frames' contents as wire_limits.h says.
  MessageReader(Side side, proto::Kind kind, BodyStore store);
  /// The same, but at most so many.
  MessageReader(Side side, proto::Kind kind, BodyStore store, std::uint64_t most);

  /// Adds bytes. False: they are no such message; nothing more is wanted, and why() says why.
  /// Throws SysError if a body cannot be staged.
  bool feed(Bytes bytes);
  /// There is no more. The message, or nullopt, and why() says why.
  std::optional<Message> finish();

  [[nodiscard]] const std::string& why() const { return why_; }

  /// A body of which a part has come, and whose rest can be asked for under that number.
  struct Begun {
    std::uint32_t index = 0;
    std::uint64_t number = 0;
    StagedBody body;
  };
  /// Of an answer that was cut off: what of it is good all the same.
  std::optional<Begun> take_begun();
  std::optional<repl::Fetched> take_fetched();

 private:
  bool take(const proto::Frame& frame);
  bool take_head(Bytes payload);
  bool take_records(Bytes payload);
  bool take_names(Bytes payload);
  bool take_body_head(Bytes payload);
  bool take_rest();
  bool take_data(Bytes payload);
  bool take_hole(Bytes payload);
  bool take_body_end(Bytes payload);
  bool put_body(std::uint32_t index, std::shared_ptr<repl::Body> body);
  [[nodiscard]] std::size_t places() const;
  bool fail(std::string why);

  Side side_;
  proto::Kind kind_;
  BodyStore store_;
  proto::FrameReader frames_;
  std::optional<Message> message_;
  std::optional<StagedBody> body_;  // that comes now
  proto::BodyHead body_head_;
  std::string why_;
};

}  // namespace izo::daemon
