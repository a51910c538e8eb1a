// SPDX-License-Identifier: GPL-2.0
#include "daemon/message_reader.h"

#include <utility>

#include "daemon/wire_limits.h"

namespace izo::daemon {

using proto::BodyHead;
using proto::Corrupt;
using proto::Part;

MessageReader::MessageReader(Side side, proto::Kind kind, BodyStore store)
    : MessageReader(side, kind, std::move(store),
                    side == Side::kRequest ? kMostOfRequest : most_of_answer(kind)) {}

MessageReader::MessageReader(Side side, proto::Kind kind, BodyStore store, std::uint64_t most)
    : side_(side), kind_(kind), store_(std::move(store)), frames_(most) {}

bool MessageReader::fail(std::string why) {
  if (why_.empty()) {
    why_ = std::move(why);
  }
  return false;
}

bool MessageReader::feed(Bytes bytes) {
  if (!why_.empty()) {
    return false;
  }
  frames_.feed(bytes);
  for (;;) {
    proto::FrameReader::Next next = frames_.next();
    if (const auto* fault = std::get_if<Corrupt>(&next)) {
      return fail(fault->what);
    }
    const auto* frame = std::get_if<proto::Frame>(&next);
    if (frame == nullptr) {
      return true;
    }
    if (!take(*frame)) {
      return false;
    }
  }
}

std::optional<MessageReader::Message> MessageReader::finish() {
  if (why_.empty() && (!message_ || body_ || frames_.waiting() != 0)) {
    fail("it is cut off");
  }
  if (!why_.empty()) {
    return std::nullopt;
  }
  if (auto* request = std::get_if<repl::Request>(&*message_)) {
    if (auto* push = std::get_if<repl::Push>(request)) {
      push->bodies.resize(push->records.size());
    }
  }
  return std::move(message_);
}

std::optional<MessageReader::Begun> MessageReader::take_begun() {
  std::optional<StagedBody> body = std::exchange(body_, std::nullopt);
  if (!why_.empty() || !body || body->size() == 0 || body_head_.number == 0) {
    return std::nullopt;
  }
  return Begun{.index = body_head_.index, .number = body_head_.number, .body = *std::move(body)};
}

std::optional<repl::Fetched> MessageReader::take_fetched() {
  auto* response = message_ && why_.empty() ? std::get_if<repl::Response>(&*message_) : nullptr;
  auto* fetched = response != nullptr ? std::get_if<repl::Fetched>(response) : nullptr;
  return fetched != nullptr ? std::optional(std::move(*fetched)) : std::nullopt;
}

bool MessageReader::take(const proto::Frame& frame) {
  const auto part = static_cast<Part>(frame.type);
  if (!message_ || part == Part::kHead) {
    return part == Part::kHead && !message_ ? take_head(frame.payload)
                                            : fail("a head is not where it must be");
  }
  if (body_ && part != Part::kData && part != Part::kHole && part != Part::kBodyEnd) {
    return fail("a body does not end");
  }
  switch (part) {
    case Part::kRecords:
      return take_records(frame.payload);
    case Part::kNames:
      return take_names(frame.payload);
    case Part::kBody:
      return take_body_head(frame.payload);
    case Part::kData:
      return take_data(frame.payload);
    case Part::kHole:
      return take_hole(frame.payload);
    case Part::kBodyEnd:
      return take_body_end(frame.payload);
    case Part::kHead:
      break;
  }
  return fail("a frame of type " + std::to_string(frame.type));
}

bool MessageReader::take_head(Bytes payload) {
  if (side_ == Side::kRequest) {
    auto decoded = proto::decode_request(kind_, payload);
    if (const auto* fault = std::get_if<Corrupt>(&decoded)) {
      return fail(fault->what);
    }
    message_ = std::get<repl::Request>(std::move(decoded));
    return true;
  }
  auto decoded = proto::decode_response(kind_, payload);
  if (const auto* fault = std::get_if<Corrupt>(&decoded)) {
    return fail(fault->what);
  }
  message_ = std::get<repl::Response>(std::move(decoded));
  return true;
}

bool MessageReader::take_records(Bytes payload) {
  auto decoded = proto::decode_records(payload);
  if (const auto* fault = std::get_if<Corrupt>(&decoded)) {
    return fail(fault->what);
  }
  std::vector<kml::Record>* records = nullptr;
  if (auto* request = std::get_if<repl::Request>(&*message_)) {
    auto* push = std::get_if<repl::Push>(request);
    records = push != nullptr && push->bodies.empty() ? &push->records : nullptr;
  } else if (auto* pulled = std::get_if<repl::Pulled>(&std::get<repl::Response>(*message_))) {
    records = &pulled->records;
  } else if (auto* described = std::get_if<repl::Described>(&std::get<repl::Response>(*message_))) {
    records = &described->records;
  }
  if (records == nullptr) {
    return fail("records where none may be");
  }
  auto& more = std::get<std::vector<kml::Record>>(decoded);
  if (side_ == Side::kRequest && records->size() + more.size() > kMostPushed) {
    return fail("more than " + std::to_string(kMostPushed) + " records in one push");
  }
  records->insert(records->end(), std::make_move_iterator(more.begin()),
                  std::make_move_iterator(more.end()));
  return true;
}

bool MessageReader::take_names(Bytes payload) {
  auto decoded = proto::decode_names(payload);
  if (const auto* fault = std::get_if<Corrupt>(&decoded)) {
    return fail(fault->what);
  }
  auto* response = std::get_if<repl::Response>(&*message_);
  auto* listed = response != nullptr ? std::get_if<repl::Listed>(response) : nullptr;
  if (listed == nullptr) {
    return fail("names where none may be");
  }
  auto& more = std::get<std::vector<repl::Listed::Entry>>(decoded);
  listed->entries.insert(listed->entries.end(), std::make_move_iterator(more.begin()),
                         std::make_move_iterator(more.end()));
  return true;
}

std::size_t MessageReader::places() const {
  if (const auto* request = std::get_if<repl::Request>(&*message_)) {
    const auto* push = std::get_if<repl::Push>(request);
    return push != nullptr ? push->records.size() : 0;
  }
  const auto* fetched = std::get_if<repl::Fetched>(&std::get<repl::Response>(*message_));
  return fetched != nullptr ? fetched->bodies.size() : 0;
}

bool MessageReader::put_body(std::uint32_t index, std::shared_ptr<repl::Body> body) {
  if (auto* request = std::get_if<repl::Request>(&*message_)) {
    auto& push = std::get<repl::Push>(*request);
    push.bodies.resize(push.records.size());
    push.bodies[index] = std::move(body);
  } else {
    std::get<repl::Fetched>(std::get<repl::Response>(*message_)).bodies[index] = std::move(body);
  }
  return true;
}

bool MessageReader::take_body_head(Bytes payload) {
  auto decoded = proto::decode_body_head(payload);
  if (const auto* fault = std::get_if<Corrupt>(&decoded)) {
    return fail(fault->what);
  }
  body_head_ = std::get<BodyHead>(decoded);
  if (body_head_.index >= places()) {
    return fail("body number " + std::to_string(body_head_.index) + " of " +
                std::to_string(places()));
  }
  switch (body_head_.state) {
    case BodyHead::State::kHere:
      body_.emplace(store_.stage()).expect(body_head_.size);
      return true;
    case BodyHead::State::kNone:
      return put_body(body_head_.index, nullptr);
    case BodyHead::State::kLater:
      return side_ == Side::kResponse || fail("a body that is not there yet");
    case BodyHead::State::kRest:
      return take_rest();
    case BodyHead::State::kUploaded:
      break;
  }
  std::shared_ptr<repl::Body> body;
  if (const auto* request = std::get_if<repl::Request>(&*message_)) {
    body =
        store_.uploaded(std::get<repl::Push>(*request).replica, body_head_.number, body_head_.size);
  }
  return body ? put_body(body_head_.index, std::move(body))
              : fail("no body of " + std::to_string(body_head_.size) +
                     " bytes was uploaded under number " + std::to_string(body_head_.number));
}

bool MessageReader::take_rest() {
  body_ = side_ == Side::kResponse && store_.begun
              ? store_.begun(body_head_.index, body_head_.number)
              : std::nullopt;
  if (!body_ || body_->size() > body_head_.size) {
    return fail("the rest of a body that did not begin");
  }
  body_->expect(body_head_.size);
  return true;
}

bool MessageReader::take_data(Bytes payload) {
  if (!body_ || payload.size() > body_head_.size - body_->size()) {
    return fail("more bytes of a body than it has");
  }
  body_->write(payload);
  return true;
}

bool MessageReader::take_hole(Bytes payload) {
  auto decoded = proto::decode_hole(payload);
  if (const auto* fault = std::get_if<Corrupt>(&decoded)) {
    return fail(fault->what);
  }
  const std::uint64_t length = std::get<proto::Hole>(decoded).length;
  if (!body_ || length > body_head_.size - body_->size()) {
    return fail("more bytes of a body than it has");
  }
  body_->skip(length);
  return true;
}

bool MessageReader::take_body_end(Bytes payload) {
  auto decoded = proto::decode_body_end(payload);
  if (const auto* fault = std::get_if<Corrupt>(&decoded)) {
    return fail(fault->what);
  }
  const auto& end = std::get<proto::BodyEnd>(decoded);
  if (!body_ || end.index != body_head_.index || (end.whole && body_->size() != body_head_.size)) {
    return fail("the end of another body");
  }
  std::optional<StagedBody> body = std::exchange(body_, std::nullopt);
  if (end.whole) {
    return put_body(end.index, body->finish());
  }
  // It changed while it was sent: asked for again.
  return side_ == Side::kResponse || fail("a body that is not whole");
}

}  // namespace izo::daemon
