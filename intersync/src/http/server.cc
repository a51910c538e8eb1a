// SPDX-License-Identifier: GPL-2.0
#include "http/server.h"

#include <utility>

#include "http/server_core.h"

namespace izo::http {

Server::Server(MainLoop& loop, const Security& security, const Options& options, Handler handler)
    : core_(std::make_shared<ServerCore>(loop, options, std::move(handler))) {
  core_->start(security);
}

Server::~Server() {
  stop();
}

void Server::stop() {
  core_->stop();
}

std::uint16_t Server::port() const {
  return core_->port();
}

Server::Counters Server::counters() const {
  return core_->counters();
}

}  // namespace izo::http
