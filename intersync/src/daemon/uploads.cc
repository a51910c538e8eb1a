// SPDX-License-Identifier: GPL-2.0
#include "daemon/uploads.h"

#include <algorithm>

namespace izo::daemon {

void Uploads::forget_old(const kml::Uuid& client) {
  const std::chrono::nanoseconds now = clock_.monotonic();
  std::erase_if(uploads_, [&](const auto& entry) { return now - entry.second.touched > kKept; });
  const auto is_clients = [&](const auto& entry) { return entry.first.first == client; };
  while (static_cast<std::size_t>(std::count_if(uploads_.begin(), uploads_.end(), is_clients)) >=
         kMost) {
    uploads_.erase(std::find_if(uploads_.begin(), uploads_.end(), is_clients));
  }
}

std::uint64_t Uploads::add(const kml::Uuid& client, std::uint64_t number, std::uint64_t offset,
                           Bytes piece) {
  const Key key(client, number);
  auto found = uploads_.find(key);
  if (offset == 0) {
    if (found != uploads_.end()) {
      uploads_.erase(found);
    }
    forget_old(client);
    found = uploads_.emplace(key, Upload{.body = stage_()}).first;
  }
  if (found == uploads_.end()) {
    return 0;
  }
  Upload& upload = found->second;
  upload.touched = clock_.monotonic();
  if (upload.body.size() == offset) {
    upload.body.write(piece);
  }
  return upload.body.size();
}

std::shared_ptr<BodyFile> Uploads::take(const kml::Uuid& client, std::uint64_t number,
                                        std::uint64_t size) {
  const auto found = uploads_.find(Key(client, number));
  if (found == uploads_.end() || found->second.body.size() != size) {
    return nullptr;
  }
  std::shared_ptr<BodyFile> body = found->second.body.finish();
  uploads_.erase(found);
  return body;
}

}  // namespace izo::daemon
