// SPDX-License-Identifier: GPL-2.0
#include "http/exchange.h"

#include <utility>

#include "base/error.h"
#include "http/conversation.h"

namespace izo::http {
namespace {

void check(int status, const Headers& headers) {
  if (status < 200 || status > 599) {
    throw Error("an answer with status " + std::to_string(status));
  }
  for (const Header& header : headers) {
    if (!is_valid(header)) {
      throw Error("answer: header " + header.name + " cannot be sent");
    }
  }
}

}  // namespace

StreamWriter::StreamWriter(std::shared_ptr<Conversation> conversation)
    : conversation_(std::move(conversation)) {}

StreamWriter& StreamWriter::operator=(StreamWriter&& other) noexcept {
  if (this != &other) {
    const StreamWriter old(std::exchange(conversation_, std::move(other.conversation_)));
  }
  return *this;
}

StreamWriter::~StreamWriter() {
  if (conversation_) {
    conversation_->forget();
    conversation_->cut();
  }
}

bool StreamWriter::write(std::vector<std::byte> bytes) {
  return conversation_->write(std::move(bytes));
}

void StreamWriter::on_room(MainLoop::Function function) {
  conversation_->set_room(std::move(function));
}

void StreamWriter::on_gone(MainLoop::Function function) {
  conversation_->set_gone(std::move(function));
}

bool StreamWriter::gone() const {
  return conversation_->gone();
}

void StreamWriter::finish() {
  conversation_->finish();
  conversation_->forget();
  conversation_.reset();
}

Exchange::Exchange(std::shared_ptr<Conversation> conversation)
    : conversation_(std::move(conversation)) {}

Exchange& Exchange::operator=(Exchange&& other) noexcept {
  if (this != &other) {
    const Exchange old(std::exchange(conversation_, std::move(other.conversation_)));
  }
  return *this;
}

Exchange::~Exchange() {
  if (!answered()) {
    conversation_->forget();
    conversation_->reply(Answer{.status = 503});
  }
}

const Incoming& Exchange::request() const {
  return conversation_->incoming;
}

void Exchange::on_gone(MainLoop::Function function) {
  conversation_->set_gone(std::move(function));
}

bool Exchange::gone() const {
  return conversation_->gone();
}

bool Exchange::answered() const {
  return !conversation_ || conversation_->replied();
}

void Exchange::answer(Answer answer) {
  check(answer.status, answer.headers);
  conversation_->forget();
  conversation_->reply(std::move(answer));
}

StreamWriter Exchange::stream(int status, Headers headers) {
  check(status, headers);
  conversation_->forget();
  conversation_->reply(Conversation::Streamed{status, std::move(headers)});
  return StreamWriter(conversation_);
}

}  // namespace izo::http
