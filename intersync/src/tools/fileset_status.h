// SPDX-License-Identifier: GPL-2.0
// How a mounted fileset is, and how izoctl status says it.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "kernel/log_file.h"
#include "kernel/mount_table.h"
#include "kml/received.h"

namespace izo::tools {

struct FilesetStatus {
  kernel::Mount mount;
  std::optional<kernel::LogInfo> log;    ///< nullopt: it has none open.
  std::vector<kml::ReceivedSlot> peers;  ///< How far their logs have been applied.
  std::string unknown;                   ///< Why it could not be asked for its log; empty: it was.
  std::optional<bool> no_filter;         ///< Of its channel; nullopt: not known.
  std::optional<bool> no_journal;
};

/// What is wrong with it, a line each: its changes do not reach the log.
std::vector<std::string> troubles(const FilesetStatus& status);

/// Some lines, each with its newline.
std::string to_text(const FilesetStatus& status);

nlohmann::ordered_json to_json(const FilesetStatus& status);

}  // namespace izo::tools
