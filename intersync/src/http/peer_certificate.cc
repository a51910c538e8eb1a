// SPDX-License-Identifier: GPL-2.0
#include "http/peer_certificate.h"

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include <memory>

namespace izo::http {
namespace {

struct EndCertificate {
  void operator()(gnutls_x509_crt_t certificate) const { gnutls_x509_crt_deinit(certificate); }
};

}  // namespace

void require_certificate(gnutls_session_int* session) {
  gnutls_certificate_server_set_request(session, GNUTLS_CERT_REQUIRE);
  gnutls_session_set_verify_cert(session, nullptr, 0);
}

std::optional<KeyId> key_of_peer(gnutls_session_int* session) {
  unsigned count = 0;
  const gnutls_datum_t* chain = gnutls_certificate_get_peers(session, &count);
  gnutls_x509_crt_t made = nullptr;
  if (chain == nullptr || count == 0 || gnutls_x509_crt_init(&made) != GNUTLS_E_SUCCESS) {
    return std::nullopt;
  }
  const std::unique_ptr<gnutls_x509_crt_int, EndCertificate> certificate(made);
  KeyId id{};
  std::size_t size = id.size();
  if (gnutls_x509_crt_import(made, &chain[0], GNUTLS_X509_FMT_DER) != GNUTLS_E_SUCCESS ||
      gnutls_x509_crt_get_key_id(made, GNUTLS_KEYID_USE_SHA256, id.data(), &size) !=
          GNUTLS_E_SUCCESS ||
      size != id.size()) {
    return std::nullopt;
  }
  return id;
}

}  // namespace izo::http
