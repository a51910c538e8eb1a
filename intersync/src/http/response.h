// SPDX-License-Identifier: GPL-2.0
// Answers as libmicrohttpd takes them. In its threads.
#pragma once

#include <microhttpd.h>

#include <memory>

#include "http/conversation.h"
#include "http/exchange.h"

namespace izo::http {

struct DropResponse {
  void operator()(MHD_Response* response) const { MHD_destroy_response(response); }
};
using Response = std::unique_ptr<MHD_Response, DropResponse>;

/// Takes over the answer's body. Throws std::bad_alloc.
Response make_response(Answer answer);

/// The body comes from the conversation's loop.
Response make_streamed_response(const Headers& headers,
                                const std::shared_ptr<Conversation>& conversation);

/// Sends it when the connection is ready for it; the response may be dropped then.
MHD_Result queue(MHD_Connection* connection, int status, MHD_Response* response);

}  // namespace izo::http
