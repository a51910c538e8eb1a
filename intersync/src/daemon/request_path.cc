// SPDX-License-Identifier: GPL-2.0
#include "daemon/request_path.h"

#include <optional>

namespace izo::daemon {
namespace {

constexpr const char* kTop = "izo";

std::string ours() {
  return "v" + std::to_string(kProtocolVersion);
}

/// Is it vN?
bool is_version(const std::string& word) {
  return word.size() > 1 && word[0] == 'v' &&
         word.find_first_not_of("0123456789", 1) == std::string::npos;
}

}  // namespace

std::vector<std::string> path_to(const std::string& fileset, const std::string& what) {
  return {kTop, ours(), fileset, what};
}

Asked asked_for(http::Method method, const std::vector<std::string>& path,
                const std::string& fileset) {
  // First: another version's paths may have another form.
  if (path.size() > 1 && path[0] == kTop && is_version(path[1]) && path[1] != ours()) {
    return NotHere{"this server speaks version " + std::to_string(kProtocolVersion) +
                   " of the protocol, not version " + path[1].substr(1) +
                   " as was asked for: install the InterMezzo of one release on both sides"};
  }
  if (path.size() != 4 || path[0] != kTop || path[1] != ours()) {
    return NotHere{"this is intersync; there is nothing here but /" + std::string(kTop) + "/" +
                   ours() + "/FILESET/"};
  }
  if (path[2] != fileset) {
    return NotHere{"this server has the fileset " + fileset + ", not " + path[2] +
                   ": mount the client with fileset=" + fileset};
  }
  if (method == http::Method::kPost) {
    if (const std::optional<proto::Kind> kind = proto::kind_of(path[3])) {
      return *kind;
    }
    if (path[3] == kUpload) {
      return PieceOfBody{};
    }
  }
  return NotHere{"no such request"};
}

}  // namespace izo::daemon
