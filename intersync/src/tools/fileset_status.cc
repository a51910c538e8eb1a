// SPDX-License-Identifier: GPL-2.0
#include "tools/fileset_status.h"

#include <linux/intermezzo_kml.h>

#include <algorithm>
#include <array>
#include <cinttypes>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "kml/quoted.h"
#include "kml/tables.h"
#include "tools/record_json.h"

namespace izo::tools {
namespace {

using Json = nlohmann::ordered_json;

std::string hex(std::uint64_t number) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "0x%016" PRIx64, number);
  return text.data();
}

std::string mib(std::uint64_t bytes) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.1f MiB", static_cast<double>(bytes) / (1 << 20));
  return text.data();
}

/// "1 (skipped)"; a sysctl that is not there is left out.
void add_switch(std::string& out, const char* name, const std::optional<bool>& value) {
  if (value) {
    out += std::string(", ") + name + (*value ? " 1" : " 0");
  }
}

std::string log_text(const kernel::LogInfo& log) {
  std::string out = "  fileset     " + kml::to_string(log.fileset) + "\n  replica     " +
                    std::to_string(log.self) + ", " + kml::to_string(log.replica) +
                    "\n  epoch       " + hex(log.epoch) + "\n  records     ";
  out += log.end_recno < log.first_recno
             ? "none since " + std::to_string(log.first_recno)
             : std::to_string(log.first_recno) + " to " + std::to_string(log.end_recno);
  out += ", offsets " + std::to_string(log.first) + " to " + std::to_string(log.end);
  // Behind the last record a filler may be on the medium too.
  out += log.committed >= log.end ? ", all on the medium"
                                  : ", on the medium to " + std::to_string(log.committed);
  out += "\n  size        " + mib(log.capacity) + ", at most " + mib(log.limit);
  out += "\n  bodies      " + std::to_string(log.dirty) + " not closed or not on the medium yet";
  out += "\n  state       ";
  out += log.journaled ? "journaled" : "not journaled";
  out += log.overflow ? ", overflowed" : "";
  out += log.failed ? ", failed" : "";
  return out + '\n';
}

Json log_json(const kernel::LogInfo& log) {
  return {{"fileset_uuid", kml::to_string(log.fileset)},
          {"replica", log.self},
          {"replica_uuid", kml::to_string(log.replica)},
          {"epoch", hex(log.epoch)},
          {"first", log.first},
          {"first_recno", log.first_recno},
          {"committed", log.committed},
          {"end", log.end},
          {"end_recno", log.end_recno},
          {"capacity", log.capacity},
          {"limit", log.limit},
          {"dirty", log.dirty},
          {"journaled", log.journaled},
          {"overflow", log.overflow},
          {"failed", log.failed}};
}

bool has(const kml::ReceivedSlot& peer, std::uint32_t flag) {
  return (peer.flags & flag) != 0;
}

std::string peer_text(const kml::ReceivedSlot& peer) {
  return "  peer        " + kml::to_string(peer.replica) + ", its log " + hex(peer.epoch) +
         " is applied up to record " + std::to_string(peer.recno) +
         (has(peer, IZO_RCVD_UPSTREAM) ? ", our server" : "") +
         (has(peer, IZO_RCVD_PARTIAL) ? ", whose tree is not all here yet\n" : "\n");
}

Json peer_json(const kml::ReceivedSlot& peer) {
  return {{"replica_uuid", kml::to_string(peer.replica)},
          {"epoch", hex(peer.epoch)},
          {"recno", peer.recno},
          {"offset", peer.offset},
          {"upstream", has(peer, IZO_RCVD_UPSTREAM)},
          {"partial", has(peer, IZO_RCVD_PARTIAL)}};
}

template <typename T>
Json or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json();
}

Json text_or_null(const std::optional<std::string>& text) {
  return text ? bytes_to_json(*text) : Json();
}

}  // namespace

std::vector<std::string> troubles(const FilesetStatus& status) {
  std::vector<std::string> out;
  if (status.log && status.log->failed) {
    out.emplace_back(
        "the log met an error, and the fileset is read-only: the kernel's log says what to do");
  }
  if (status.log && status.log->overflow) {
    out.emplace_back(
        "the log overflowed: changes after its last record are not in it; nothing is shared until "
        "a client is made anew, or a server's log begins anew: see intersync(8)");
  }
  if (!status.log && status.unknown.empty() && !status.mount.is_read_only()) {
    out.emplace_back(
        "there is no log, as the cache had no room for one: changes are not recorded "
        "until it has at a mount");
  }
  return out;
}

std::string to_text(const FilesetStatus& status) {
  const kernel::Mount& mount = status.mount;
  const std::optional<std::string> fileset = mount.option("fileset");
  const std::optional<std::string> mtp = mount.option("mtp");
  const std::optional<std::string> cache_type = mount.option("cache_type");
  const std::optional<unsigned> channel = mount.channel();
  std::string out = kml::quoted(mount.point) + ": ";
  out += fileset ? "fileset " + kml::quoted(*fileset) : "fileset not named yet";
  out += " on " + kml::quoted(mount.source) + " (" + mount.type;
  out += (cache_type ? " over " + *cache_type : "") + "), ";
  out += mount.is_read_only() ? "read-only\n" : "read-write\n";
  out += "  mtp         " + (mtp ? kml::quoted(*mtp) : "not given") + '\n';
  if (channel) {
    out += "  channel     " + std::to_string(*channel);
    add_switch(out, "no_filter", status.no_filter);
    add_switch(out, "no_journal", status.no_journal);
    out += '\n';
  }
  if (status.log) {
    out += log_text(*status.log);
  } else if (!status.unknown.empty()) {
    out += "  log         not known: " + status.unknown + '\n';
  } else if (mount.is_read_only()) {
    out += "  log         not open until the first read-write mount\n";
  }
  for (const kml::ReceivedSlot& peer : status.peers) {
    out += peer_text(peer);
  }
  for (const std::string& trouble : troubles(status)) {
    out += "  TROUBLE     " + trouble + '\n';
  }
  return out;
}

Json to_json(const FilesetStatus& status) {
  const kernel::Mount& mount = status.mount;
  Json out = {{"mount_point", bytes_to_json(mount.point)},
              {"fileset", text_or_null(mount.option("fileset"))},
              {"mtp", text_or_null(mount.option("mtp"))},
              {"device", bytes_to_json(mount.source)},
              {"type", mount.type},
              {"cache_type", text_or_null(mount.option("cache_type"))},
              {"read_only", mount.is_read_only()},
              {"channel", or_null(mount.channel())},
              {"no_filter", or_null(status.no_filter)},
              {"no_journal", or_null(status.no_journal)},
              {"log", status.log ? log_json(*status.log) : Json()}};
  out["peers"] = Json::array();
  for (const kml::ReceivedSlot& peer : status.peers) {
    out["peers"].push_back(peer_json(peer));
  }
  if (!status.unknown.empty()) {
    out["unknown"] = status.unknown;
  }
  out["troubles"] = troubles(status);
  return out;
}

}  // namespace izo::tools
