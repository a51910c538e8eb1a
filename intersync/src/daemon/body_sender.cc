// SPDX-License-Identifier: GPL-2.0
#include "daemon/body_sender.h"

#include <algorithm>

#include "base/log.h"

namespace izo::daemon {

using proto::BodyEnd;
using proto::BodyHead;

std::optional<std::vector<std::byte>> BodySender::next() {
  std::vector<std::byte> out;
  while (at_ < bodies_.size() && out.size() < proto::kBodyPiece) {
    const auto index = static_cast<std::uint32_t>(at_);
    const std::optional<std::shared_ptr<repl::Body>>& place = bodies_[at_].body;
    if (!place || !*place) {
      writer_.add(out, BodyHead{.index = index,
                                .state = place ? BodyHead::State::kNone : BodyHead::State::kLater});
      at_++;
      continue;
    }
    const auto& body = dynamic_cast<const BodyFile&>(**place);
    if (!begun_) {
      begin(out, body);
    }
    go_on(out, body);
  }
  return out.empty() ? std::nullopt : std::optional(std::move(out));
}

void BodySender::begin(std::vector<std::byte>& out, const BodyFile& body) {
  begun_ = true;
  offset_ = bodies_[at_].offset;
  writer_.add(out, BodyHead{.index = static_cast<std::uint32_t>(at_),
                            .state = offset_ != 0 ? BodyHead::State::kRest : BodyHead::State::kHere,
                            .size = body.size(),
                            .number = bodies_[at_].number});
}

void BodySender::go_on(std::vector<std::byte>& out, const BodyFile& body) {
  bool good = true;
  try {
    const auto [begin, end] = body.stretch(offset_, proto::kBodyPiece);
    std::vector<std::byte> piece(end - begin);
    body.read(begin, piece);
    if (begin != offset_) {
      writer_.add(out, proto::Hole{begin - offset_});
    }
    if (!piece.empty()) {
      writer_.add_data(out, piece);
    }
    offset_ = end;
    // Who asks again for one whose file has gone gets none.
    if (offset_ < body.size() && body.is_wanted()) {
      return;
    }
    good = offset_ == body.size() && body.is_whole();
  } catch (const SysError& error) {
    on_unread_(at_, error);
    good = false;
  } catch (const Error& error) {
    log::notice("a body that is being sent: ", error.what());
    good = false;
  }
  writer_.add(out, BodyEnd{.index = static_cast<std::uint32_t>(at_), .whole = good});
  bodies_[at_].body.reset();
  at_++;
  begun_ = false;
}

}  // namespace izo::daemon
