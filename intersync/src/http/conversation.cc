// SPDX-License-Identifier: GPL-2.0
#include "http/conversation.h"

#include <microhttpd.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace izo::http {

Conversation::Conversation(MainLoop& loop, MHD_Connection* connection, int fd, std::string target)
    : loop_(loop), target_(std::move(target)), fd_(fd), connection_(connection) {}

bool Conversation::sleep() {
  const std::lock_guard lock(mutex_);
  if (cut_) {
    return false;
  }
  // Before the loop knows of the request: it must not wake what does not sleep yet.
  MHD_suspend_connection(connection_);
  asleep_ = true;
  return true;
}

std::optional<Conversation::Reply> Conversation::take_reply() {
  const std::lock_guard lock(mutex_);
  return cut_ ? std::nullopt : std::exchange(reply_, std::nullopt);
}

ssize_t Conversation::read(std::span<std::byte> out) {
  const std::lock_guard lock(mutex_);
  if (cut_) {
    return kCut;
  }
  if (pieces_.empty()) {
    if (finished_) {
      return kEnd;
    }
    MHD_suspend_connection(connection_);
    asleep_ = true;
    loop_.post([self = shared_from_this()] { self->watch(); });
    return 0;
  }
  std::size_t filled = 0;
  while (!pieces_.empty() && filled < out.size()) {
    const std::vector<std::byte>& piece = pieces_.front();
    const std::size_t count = std::min(piece.size() - used_, out.size() - filled);
    std::memcpy(out.data() + filled, piece.data() + used_, count);
    filled += count;
    used_ += count;
    if (used_ == piece.size()) {
      pieces_.pop_front();
      used_ = 0;
    }
  }
  buffered_ -= filled;
  if (full_ && buffered_ <= kLittle) {
    full_ = false;
    loop_.post([self = shared_from_this()] {
      // A copy: it may set another, or end the writer.
      if (const MainLoop::Function function = self->on_room_; function && !self->gone_) {
        function();
      }
    });
  }
  return static_cast<ssize_t>(filled);
}

void Conversation::end(bool whole) {
  const std::lock_guard lock(mutex_);
  connection_ = nullptr;
  asleep_ = false;
  pieces_.clear();
  if (!whole) {
    cut_ = true;
    loop_.post([self = shared_from_this()] { self->lose(); });
  }
}

void Conversation::watch() {
  const std::lock_guard lock(mutex_);
  if (!asleep_) {
    return;
  }
  watch_ = loop_.watch(fd_, MainLoop::kHangup, [weak = weak_from_this()](unsigned) {
    if (const std::shared_ptr<Conversation> self = weak.lock()) {
      self->cut();
    }
  });
}

void Conversation::wake(const std::lock_guard<std::mutex>& /*held*/) {
  // First: the descriptor may be closed, and its number be another's, once the connection is awake.
  watch_.reset();
  if (std::exchange(asleep_, false)) {
    MHD_resume_connection(connection_);
  }
}

void Conversation::reply(Reply reply) {
  replied_ = true;
  const std::lock_guard lock(mutex_);
  if (connection_ == nullptr || cut_) {
    return;
  }
  reply_ = std::move(reply);
  wake(lock);
}

bool Conversation::write(std::vector<std::byte> bytes) {
  const std::lock_guard lock(mutex_);
  if (connection_ == nullptr || cut_ || finished_) {
    return false;
  }
  if (!bytes.empty()) {
    buffered_ += bytes.size();
    pieces_.push_back(std::move(bytes));
    wake(lock);
  }
  full_ = buffered_ >= kMuch;
  return !full_;
}

void Conversation::finish() {
  const std::lock_guard lock(mutex_);
  finished_ = true;
  if (connection_ != nullptr) {
    wake(lock);
  }
}

void Conversation::cut() {
  {
    const std::lock_guard lock(mutex_);
    if (connection_ == nullptr) {
      return;
    }
    cut_ = true;
    wake(lock);
  }
  lose();
}

void Conversation::lose() {
  if (!std::exchange(gone_, true)) {
    if (const MainLoop::Function function = std::exchange(on_gone_, {})) {
      function();
    }
  }
}

void Conversation::forget() {
  on_gone_ = {};
  on_room_ = {};
}

}  // namespace izo::http
