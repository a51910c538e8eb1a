// SPDX-License-Identifier: GPL-2.0
#include "daemon/sendings.h"

#include <algorithm>
#include <utility>

namespace izo::daemon {
namespace {

constexpr std::uint64_t kLeast = std::uint64_t{1} << 20;
constexpr std::ptrdiff_t kMost = 64;
constexpr std::chrono::minutes kKept{10};

}  // namespace

std::uint64_t Sendings::add(const std::shared_ptr<BodyFile>& body) {
  if (body->size() < kLeast) {
    return 0;
  }
  // Not counted up: another life of the daemon must not take it for one of its own.
  std::uint64_t number = 0;
  while (number == 0 || sendings_.contains(number)) {
    number = random_.number();
  }
  sendings_.emplace(number, Sending{.body = body, .kept = {}, .touched = clock_.monotonic()});
  return number;
}

void Sendings::keep(std::uint64_t number) {
  const auto found = sendings_.find(number);
  if (found == sendings_.end()) {
    return;
  }
  found->second.kept = found->second.body.lock();
  found->second.touched = clock_.monotonic();
  const auto is_kept = [](const auto& entry) { return entry.second.kept != nullptr; };
  if (std::count_if(sendings_.begin(), sendings_.end(), is_kept) > kMost) {
    sendings_.erase(std::min_element(sendings_.begin(), sendings_.end(),
                                     [](const auto& one, const auto& other) {
                                       return std::pair(!one.second.kept, one.second.touched) <
                                              std::pair(!other.second.kept, other.second.touched);
                                     }));
  }
}

void Sendings::forget_old() {
  const std::chrono::nanoseconds now = clock_.monotonic();
  std::erase_if(sendings_, [&](const auto& entry) {
    const Sending& sending = entry.second;
    return sending.kept ? now - sending.touched > kKept || !sending.kept->has_name()
                        : sending.body.expired();
  });
}

bool Sendings::is_of(std::uint64_t number, const BodyFile& body) {
  const auto found = sendings_.find(number);
  const std::shared_ptr<BodyFile> sent =
      found != sendings_.end() ? found->second.body.lock() : nullptr;
  if (!sent) {
    return false;
  }
  found->second.touched = clock_.monotonic();
  return body.is_same_as(*sent);
}

}  // namespace izo::daemon
