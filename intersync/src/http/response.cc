// SPDX-License-Identifier: GPL-2.0
#include "http/response.h"

#include <new>
#include <utility>

#include "base/log.h"

namespace izo::http {
namespace {

constexpr std::size_t kBlock = std::size_t{64} << 10;

template <typename Thing>
void drop(void* pointer) noexcept {
  const std::unique_ptr<Thing> owner(static_cast<Thing*>(pointer));
}

/// libmicrohttpd owns `thing` from now on, through the response.
template <typename Thing>
Response own(std::unique_ptr<Thing> thing, MHD_Response* made) {
  if (made == nullptr) {
    throw std::bad_alloc();
  }
  [[maybe_unused]] const Thing* given = thing.release();
  return Response(made);
}

std::span<std::byte> span_of(char* buffer, std::size_t size) {
  return std::as_writable_bytes(std::span(buffer, size));
}

ssize_t read_conversation(void* pointer, std::uint64_t /*offset*/, char* buffer,
                          std::size_t size) noexcept {
  try {
    auto& conversation = **static_cast<std::shared_ptr<Conversation>*>(pointer);
    const ssize_t got = conversation.read(span_of(buffer, size));
    if (got >= 0) {
      return got;
    }
    return got == Conversation::kEnd ? MHD_CONTENT_READER_END_OF_STREAM
                                     : MHD_CONTENT_READER_END_WITH_ERROR;
  } catch (const std::exception& error) {
    log::warning("an answer was cut: ", error.what());
    return MHD_CONTENT_READER_END_WITH_ERROR;
  }
}

Response make_body(std::vector<std::byte> bytes) {
  auto body = std::make_unique<std::vector<std::byte>>(std::move(bytes));
  std::vector<std::byte>* pointer = body.get();
  return own(std::move(body),
             MHD_create_response_from_buffer_with_free_callback_cls(
                 pointer->size(), pointer->data(), drop<std::vector<std::byte>>, pointer));
}

void add_headers(MHD_Response* response, const Headers& headers) {
  for (const Header& header : headers) {
    if (MHD_add_response_header(response, header.name.c_str(), header.value.c_str()) != MHD_YES) {
      log::warning("answer without header ", header.name, ": libmicrohttpd refuses it");
    }
  }
}

}  // namespace

Response make_response(Answer answer) {
  Response response = make_body(std::move(answer.body));
  add_headers(response.get(), answer.headers);
  return response;
}

Response make_streamed_response(const Headers& headers,
                                const std::shared_ptr<Conversation>& conversation) {
  using Held = std::shared_ptr<Conversation>;
  auto held = std::make_unique<Held>(conversation);
  Held* pointer = held.get();
  Response response =
      own(std::move(held), MHD_create_response_from_callback(
                               MHD_SIZE_UNKNOWN, kBlock, read_conversation, pointer, drop<Held>));
  add_headers(response.get(), headers);
  return response;
}

MHD_Result queue(MHD_Connection* connection, int status, MHD_Response* response) {
  return MHD_queue_response(connection, static_cast<unsigned>(status), response);
}

}  // namespace izo::http
