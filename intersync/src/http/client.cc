// SPDX-License-Identifier: GPL-2.0
#include "http/client.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "http/client_core.h"
#include "http/target.h"

namespace izo::http {
namespace {

/// curl's own set-up is not for several threads at once; the first client does it.
void set_up_curl() {
  static const CURLcode result = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (result != CURLE_OK) {
    throw Error(std::string("libcurl: ") + curl_easy_strerror(result));
  }
}

/// "http://host:port" with that scheme, and nothing behind it.
bool is_base(const std::string& base, std::string_view scheme) {
  if (!base.starts_with(scheme) || base.size() == scheme.size()) {
    return false;
  }
  return base.find_first_not_of(
             "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
             ".:-_[]%",
             scheme.size()) == std::string::npos;
}

void check(const Request& request) {
  if (!parse_target(request.target)) {
    throw Error("request for " + request.target + ": not a target");
  }
  for (const Header& header : request.headers) {
    if (!is_valid(header)) {
      throw Error("request for " + request.target + ": header " + header.name + " cannot be sent");
    }
  }
  if (request.body.size() > kMaxRequestBody ||
      (request.method == Method::kGet && !request.body.empty())) {
    throw Error("request for " + request.target + ": a body of " +
                std::to_string(request.body.size()) + " bytes; with POST up to " +
                std::to_string(kMaxRequestBody) + " can be sent");
  }
}

}  // namespace

Client::Transfer& Client::Transfer::operator=(Transfer&& other) noexcept {
  if (this != &other) {
    cancel();
    core_ = std::move(other.core_);
    id_ = other.id_;
  }
  return *this;
}

void Client::Transfer::cancel() noexcept {
  if (const std::shared_ptr<ClientCore> core = std::exchange(core_, {}).lock()) {
    core->cancel(id_);
  }
}

bool Client::Transfer::active() const {
  const std::shared_ptr<ClientCore> core = core_.lock();
  return core && core->has(id_);
}

Client::Client(MainLoop& loop, std::string base, Security security, const Options& options) {
  const bool plain = std::holds_alternative<PlainHttp>(security);
  if (!is_base(base, plain ? "http://" : "https://")) {
    throw Error(base + (plain ? ": plain HTTP was asked for: give http://HOST:PORT"
                              : ": not encrypted, or not an address: give https://HOST:PORT"));
  }
  set_up_curl();
  core_ = std::make_shared<ClientCore>(loop, std::move(base), std::move(security), options);
}

Client::~Client() {
  core_->close();
}

Client::Transfer Client::start(Request request, Receiver receiver) {
  check(request);
  Transfer transfer;
  transfer.core_ = core_;
  transfer.id_ = core_->add(std::move(request), std::move(receiver));
  return transfer;
}

}  // namespace izo::http
