// SPDX-License-Identifier: GPL-2.0
// izoctl status: asks mounted filesets for their logs' state.
#include <fcntl.h>
#include <linux/intermezzo.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <system_error>

#include "base/command_line.h"
#include "base/error.h"
#include "base/unique_fd.h"
#include "kernel/log_file.h"
#include "kernel/mount_table.h"
#include "tools/fileset_status.h"
#include "tools/izoctl.h"

namespace izo::tools {
namespace {

using kernel::LogFile;
using kernel::Mount;

constexpr const char* kVerb = "izoctl status";

constexpr const char* kHelp =
    "usage: izoctl status [OPTION]... [PATH]...\n"
    "\n"
    "Says how mounted filesets are: all of them, or those that the PATHs lie in.\n"
    "\n"
    "  --json  as JSON, one object a line\n"
    "  -h, --help\n"
    "\n"
    "Exit codes: 0 all are well; 1 not all could be asked; 2 wrong usage; 3 one is not well. See\n"
    "izoctl(8).\n";

bool is_on(const struct stat& seen, const Mount& mount) {
  return major(seen.st_dev) == mount.dev_major && minor(seen.st_dev) == mount.dev_minor;
}

std::vector<Mount> mounted_now() {
  constexpr const char* kTable = "/proc/self/mountinfo";
  std::stringstream text;
  text << std::ifstream(kTable).rdbuf();
  if (!text) {
    throw Error(std::string(kTable) + ": cannot be read; is /proc mounted?");
  }
  return kernel::mounted_filesets(text.str());
}

std::optional<bool> setting(unsigned channel, const std::string& name) {
  std::ifstream file("/proc/sys/intermezzo/intermezzo" + std::to_string(channel) + '/' + name);
  int value = 0;
  return file >> value ? std::optional(value != 0) : std::nullopt;
}

std::vector<kml::ReceivedSlot> peers_in(int root, const std::string& fileset) {
  const std::string path = INTERMEZZO_DIR "/" + fileset + "/last_rcvd";
  const UniqueFd file(openat(root, path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat seen{};
  if (!file || fstat(file.get(), &seen) != 0) {
    return {};
  }
  std::vector<std::byte> bytes(static_cast<std::size_t>(seen.st_size));
  const ssize_t got = pread(file.get(), bytes.data(), bytes.size(), 0);
  bytes.resize(static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  kml::DecodedReceived decoded = kml::decode_received(bytes);
  auto* slots = std::get_if<std::vector<kml::ReceivedSlot>>(&decoded);
  return slots != nullptr ? std::move(*slots) : std::vector<kml::ReceivedSlot>();
}

/// Fills in `log` and `peers`, or why there is none.
void ask(FilesetStatus& status) {
  const auto not_known = [&](int error) {
    status.unknown = error == EACCES || error == EPERM ? "only root (CAP_SYS_ADMIN) may ask"
                                                       : std::generic_category().message(error);
  };
  const UniqueFd root(open(status.mount.point.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  struct stat seen{};
  if (!root || fstat(root.get(), &seen) != 0) {
    not_known(errno);
    return;
  }
  if (!is_on(seen, status.mount)) {
    status.unknown = "another mount hides it";
    return;
  }
  const std::optional<std::string> fileset = status.mount.option("fileset");
  if (!fileset) {
    return;
  }
  const std::string path = INTERMEZZO_DIR "/" + *fileset + "/kml";
  UniqueFd kml(openat(root.get(), path.c_str(), O_RDONLY | O_CLOEXEC));
  if (kml) {
    if (LogFile::is_one(kml.get())) {
      status.log = LogFile(status.mount.point + "/" + path, std::move(kml)).info();
    }
    status.peers = peers_in(root.get(), *fileset);
  } else if (errno != ENOENT) {
    not_known(errno);
  }
}

FilesetStatus status_of(const Mount& mount) {
  FilesetStatus status{.mount = mount};
  ask(status);
  if (const std::optional<unsigned> channel = mount.channel()) {
    status.no_filter = setting(*channel, "no_filter");
    status.no_journal = setting(*channel, "no_journal");
  }
  return status;
}

/// Those of the mounts that the paths lie in.
std::vector<Mount> chosen(const std::vector<Mount>& mounts, const std::vector<std::string>& paths) {
  std::vector<Mount> out;
  for (const std::string& path : paths) {
    struct stat seen{};
    if (stat(path.c_str(), &seen) != 0) {
      throw SysError(errno, "stat", path);
    }
    const auto found =
        std::ranges::find_if(mounts, [&](const Mount& mount) { return is_on(seen, mount); });
    if (found == mounts.end()) {
      throw Error(path + ": no intermezzo is mounted there");
    }
    out.push_back(*found);
  }
  return out;
}

}  // namespace

int izoctl_status(int argc, char** argv) {
  bool json = false;
  const auto parsed = parse({.name = kVerb,
                             .help = kHelp,
                             .operand = "PATH",
                             .takes_one = false,
                             .options = {flag("json", json)}},
                            argc, argv);
  if (const auto* said = std::get_if<Said>(&parsed)) {
    return print(*said);
  }
  const auto& paths = std::get<std::vector<std::string>>(parsed);
  std::vector<Mount> mounts = mounted_now();
  if (!paths.empty()) {
    mounts = chosen(mounts, paths);
  }
  if (mounts.empty()) {
    std::cerr << "izoctl: no intermezzo is mounted\n";
  }
  int code = kDone;
  for (const Mount& mount : mounts) {
    const FilesetStatus status = status_of(mount);
    std::cout << (json ? to_json(status).dump() + '\n' : to_text(status));
    if (!status.unknown.empty() && code == kDone) {
      code = kFailed;
    }
    if (!troubles(status).empty()) {
      code = kTrouble;
    }
  }
  return code;
}

}  // namespace izo::tools
