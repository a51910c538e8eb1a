// SPDX-License-Identifier: GPL-2.0
// What libmicrohttpd leaves to its user about clients' certificates.
#pragma once

#include <optional>

#include "http/exchange.h"

struct gnutls_session_int;

namespace izo::http {

/// Before the handshake: a client must show a certificate that the session's authority has signed,
/// or the handshake fails. (libmicrohttpd alone would take a client without one.)
void require_certificate(gnutls_session_int* session);

/// After it: who the client is.
std::optional<KeyId> key_of_peer(gnutls_session_int* session);

}  // namespace izo::http
