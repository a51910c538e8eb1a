// SPDX-License-Identifier: GPL-2.0
#include "daemon/uploads.h"

#include <algorithm>

namespace izo::daemon {

void Uploads::forget_old() {
  const std::chrono::nanoseconds now = clock_.monotonic();
  std::erase_if(uploads_, [&](const auto& entry) { return now - entry.second.touched > kKept; });
}

void Uploads::make_room(const kml::Uuid& client) {
  forget_old();
  const auto is_clients = [&](const auto& entry) { return entry.first.first == client; };
  while (static_cast<std::size_t>(std::count_if(uploads_.begin(), uploads_.end(), is_clients)) >=
         kMost) {
    uploads_.erase(std::find_if(uploads_.begin(), uploads_.end(), is_clients));
  }
  while (uploads_.size() >= most_of_all_) {
    // Who has most of them loses one, or one who sends much would cost others theirs.
    std::map<kml::Uuid, std::size_t> counts;
    for (const auto& [key, upload] : uploads_) {
      counts[key.first]++;
    }
    uploads_.erase(
        std::min_element(uploads_.begin(), uploads_.end(), [&](const auto& a, const auto& b) {
          const std::size_t of_a = counts[a.first.first];
          const std::size_t of_b = counts[b.first.first];
          return of_a != of_b ? of_a > of_b : a.second.touched < b.second.touched;
        }));
  }
}

std::uint64_t Uploads::add(const proto::Upload& piece) {
  const Key key(piece.client, piece.number);
  auto found = uploads_.find(key);
  if (piece.offset == 0) {
    if (found != uploads_.end()) {
      uploads_.erase(found);
    }
    make_room(piece.client);
    found = uploads_.emplace(key, Upload{.body = stage_(), .version = piece.version, .whole = {}})
                .first;
    found->second.body.expect(piece.size);
    if (!found->second.body.fits()) {
      found->second.body.skip(piece.size);
    }
  }
  if (found == uploads_.end() || found->second.version != piece.version) {
    // A piece that was long on its way, of a body that has changed since, must not get into it.
    return 0;
  }
  Upload& upload = found->second;
  upload.touched = clock_.monotonic();
  if (upload.whole) {
    return upload.whole->size();
  }
  if (upload.body.size() == piece.offset) {
    upload.body.skip(piece.hole);
    upload.body.write(piece.piece);
  }
  return upload.body.size();
}

std::shared_ptr<BodyFile> Uploads::whole(const kml::Uuid& client, std::uint64_t number,
                                         std::uint64_t size) {
  const auto found = uploads_.find(Key(client, number));
  if (found == uploads_.end()) {
    return nullptr;
  }
  Upload& upload = found->second;
  if (!upload.whole && upload.body.size() == size) {
    upload.whole = upload.body.finish();
  }
  upload.touched = clock_.monotonic();
  return upload.whole && upload.whole->size() == size ? upload.whole : nullptr;
}

void Uploads::forget(const kml::Uuid& client, std::uint64_t number) {
  uploads_.erase(uploads_.lower_bound(Key(client, 0)), uploads_.upper_bound(Key(client, number)));
}

}  // namespace izo::daemon
