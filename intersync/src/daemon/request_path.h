// SPDX-License-Identifier: GPL-2.0
// The path of a request, /izo/vN/FILESET/WHAT: a client's, and what a server makes of it. Pure.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "http/message.h"
#include "proto/messages.h"

namespace izo::daemon {

/// N: what both sides must have in common to understand each other.
inline constexpr unsigned kProtocolVersion = 1;

/// WHAT besides the names of messages: a piece of a body.
inline constexpr const char* kUpload = "upload";

/// The components of a path of ours.
std::vector<std::string> path_to(const std::string& fileset, const std::string& what);

struct PieceOfBody {
  bool operator==(const PieceOfBody&) const = default;
};
/// There is no such thing here: why, and what to do, in one line for the client's people.
struct NotHere {
  std::string why;

  bool operator==(const NotHere&) const = default;
};
using Asked = std::variant<proto::Kind, PieceOfBody, NotHere>;

/// What a request asks of the server of `fileset`.
Asked asked_for(http::Method method, const std::vector<std::string>& path,
                const std::string& fileset);

}  // namespace izo::daemon
