// SPDX-License-Identifier: GPL-2.0
#include "http/connection_limits.h"

#include <sys/socket.h>

namespace izo::http {

void ConnectionLimits::open(MHD_Connection* connection, int fd, Time deadline) {
  const std::lock_guard lock(mutex_);
  connections_[connection] = {fd, deadline};
}

void ConnectionLimits::set(MHD_Connection* connection, std::optional<Time> deadline) {
  const std::lock_guard lock(mutex_);
  if (const auto found = connections_.find(connection); found != connections_.end()) {
    found->second.deadline = deadline;
  }
}

void ConnectionLimits::close(MHD_Connection* connection) {
  const std::lock_guard lock(mutex_);
  connections_.erase(connection);
}

std::size_t ConnectionLimits::cut_late(Time now) {
  const std::lock_guard lock(mutex_);
  std::size_t count = 0;
  for (auto& [connection, state] : connections_) {
    if (state.deadline && *state.deadline <= now) {
      ::shutdown(state.fd, SHUT_RDWR);
      state.deadline.reset();
      count++;
    }
  }
  return count;
}

std::optional<ConnectionLimits::Time> ConnectionLimits::next() const {
  const std::lock_guard lock(mutex_);
  std::optional<Time> first;
  for (const auto& [connection, state] : connections_) {
    if (state.deadline && (!first || *state.deadline < *first)) {
      first = state.deadline;
    }
  }
  return first;
}

}  // namespace izo::http
