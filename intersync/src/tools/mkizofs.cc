// SPDX-License-Identifier: GPL-2.0
// mkizofs(8): makes an ext4 the cache of a fileset, or a copy of a cache a replica of its own.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <exception>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/command_line.h"
#include "base/error.h"
#include "base/unique_fd.h"
#include "tools/cache_tables.h"
#include "tools/program.h"

namespace {

using izo::Error;
using izo::ext::Image;
using izo::tools::Finished;
using izo::tools::Identity;
using izo::tools::run_program;

constexpr int kFailed = 1;
/// An ext4 of it has room for its journal, for the log's eight segments and a little more.
constexpr off_t kLeastSize = off_t{8} << 20;

constexpr const char* kHelp =
    "usage: mkizofs [OPTION]... DEVICE\n"
    "\n"
    "Makes the ext3 or ext4 on DEVICE (or in an image file) the cache of a fileset, so that it can "
    "be\n"
    "mounted as intermezzo. What is on it stays. It must not be mounted.\n"
    "\n"
    "  --fileset=NAME       name of the fileset (the one that is there, or rootset)\n"
    "  --fileset-uuid=UUID  its UUID, if other caches have it already (random)\n"
    "  --mkfs               make an ext4 first\n"
    "  --force              with --mkfs: whatever is there is lost\n"
    "  --clone              DEVICE is a byte copy of a replica's cache: make it another replica\n"
    "  --of-server          with --clone: that replica is the server it will be a client of\n"
    "  --json               say what was done as a JSON object\n"
    "  --quiet              say nothing\n"
    "  -h, --help, --version\n"
    "\n"
    "Exit codes: 0 done, or nothing to do; 1 refused or failed; 2 wrong usage. See mkizofs(8).\n";

struct Options {
  std::string device;
  std::optional<std::string> fileset;
  std::optional<izo::kml::Uuid> uuid;
  bool mkfs = false;
  bool force = false;
  bool clone = false;
  bool of_server = false;
  bool json = false;
  bool quiet = false;
};

/// Fills in `options`; an exit code if the program ends here.
std::optional<int> take(int argc, char** argv, Options& options) {
  const auto wrong = [](const std::string& what) {
    return izo::print(izo::wrong_usage("mkizofs", what));
  };
  const izo::CommandOption uuid{"fileset-uuid", true, [&options](const std::string& value) {
                                  options.uuid = izo::kml::uuid_from(value);
                                  return options.uuid ? std::string()
                                                      : "--fileset-uuid=" + value + ": no UUID";
                                }};
  const auto parsed = izo::parse(
      {.name = "mkizofs",
       .help = kHelp,
       .version = "mkizofs " IZO_VERSION "\n",
       .operand = "DEVICE",
       .options = {izo::tools::fileset_option(options.fileset), uuid,
                   izo::flag("mkfs", options.mkfs), izo::flag("force", options.force),
                   izo::flag("clone", options.clone), izo::flag("of-server", options.of_server),
                   izo::flag("json", options.json), izo::flag("quiet", options.quiet)}},
      argc, argv);
  if (const auto* said = std::get_if<izo::Said>(&parsed)) {
    return izo::print(*said);
  }
  options.device = std::get<std::vector<std::string>>(parsed)[0];
  if (options.of_server && !options.clone) {
    return wrong("--of-server goes with --clone");
  }
  if (options.clone && (options.mkfs || options.fileset || options.uuid)) {
    return wrong("--clone takes the fileset from the copy, and no other option about it");
  }
  if (options.force && !options.mkfs) {
    return wrong("--force goes with --mkfs");
  }
  return std::nullopt;
}

/// What a program said first, but for its name and its version.
std::string first_line(const std::string& program, const Finished& finished) {
  std::istringstream lines(finished.errors + '\n' + finished.output);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(program + ": ")) {
      line.erase(0, program.size() + 2);
    }
    const std::size_t first = line.find_first_not_of(" \t");
    if (first != std::string::npos && !line.starts_with(program + " ")) {
      return line.substr(first, line.find_last_not_of(" \t") - first + 1);
    }
  }
  return "it does not say why";
}

void require_success(const Options& options, const std::vector<std::string>& words, int most) {
  const Finished finished = run_program(words);
  if (finished.code > most) {
    throw Error(options.device + ": " + words.front() +
                " failed: " + first_line(words.front(), finished));
  }
}

/// Refuses what is no ext4, or would be lost. `kind`: as blkid has it.
void refuse(const Options& options, const std::string& kind) {
  if (kind == "xfs" || kind == "btrfs") {
    throw Error(options.device + ": it holds " + kind +
                ", which mkizofs cannot mark; mount it with -t intermezzo -o "
                "fileset=NAME,cache_type=" +
                kind + ", or give --mkfs --force to lose it");
  }
  if (!kind.starts_with("ext")) {
    throw Error(options.device + ": it holds " + kind +
                ", which cannot be a cache; give --mkfs --force to lose it");
  }
  if (options.mkfs) {
    throw Error(options.device + ": it holds a file system (" + kind +
                "); leave out --mkfs to keep it, or give --force to lose it");
  }
}

/// What DEVICE holds: a file system's type as blkid has it, words for another thing; empty:
/// nothing.
std::string found_on(const std::string& device) {
  constexpr int kNothing = 2;
  const Finished probe = run_program({"blkid", "-p", "-o", "export", device});
  if (probe.code == kNothing) {
    return {};
  }
  if (probe.code != 0) {
    throw Error(device + ": it cannot be told what it holds (blkid: " + first_line("blkid", probe) +
                "); give --mkfs --force to lose it");
  }
  std::istringstream lines(probe.output);
  std::string table;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("TYPE=")) {
      return line.substr(line.find('=') + 1);
    }
    if (line.starts_with("PTTYPE=")) {
      table = "a partition table (" + line.substr(line.find('=') + 1) + ")";
    }
  }
  return table;
}

/// Looks at DEVICE before anything is written; throws for what cannot become a cache.
void look_at(const Options& options) {
  const std::string& device = options.device;
  const izo::UniqueFd fd(::open(device.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  struct stat seen{};
  if (!fd || ::fstat(fd.get(), &seen) != 0) {
    throw izo::SysError(errno, "open", device);
  }
  if (!S_ISBLK(seen.st_mode) && !S_ISREG(seen.st_mode)) {
    throw Error(device + ": it is no block device and no image file; name one");
  }
  if (options.mkfs ? !options.force : !Image::is_on(fd.get())) {
    if (const std::string kind = found_on(device); !kind.empty()) {
      refuse(options, kind);
    }
  }
  const off_t size = ::lseek(fd.get(), 0, SEEK_END);
  if (options.mkfs && size < kLeastSize) {
    throw Error(device + ": it is " + std::to_string(size) + " bytes long; a cache needs " +
                std::to_string(kLeastSize >> 20) + " MiB" +
                (S_ISREG(seen.st_mode) ? ": truncate -s 64M " + device : ""));
  }
}

void make_file_system(const Options& options) {
  require_success(options,
                  {"mke2fs", "-q", "-F", "-t", "ext4", "-I", "256", "-O",
                   "^fast_commit,^ea_inode,^casefold", options.device},
                  0);
}

Identity clone(const Options& options) {
  // Two disks with one UUID in one machine are mixed up; tune2fs wants the file system checked
  // before.
  require_success(options, {"e2fsck", "-f", "-p", options.device}, 1);
  Identity identity;
  bool quota = false;
  {
    Image image(options.device, Image::Access::kWrite);
    identity = izo::tools::clone(image, options.of_server);
    quota = image.has_quota();
    image.close();
  }
  require_success(options, {"tune2fs", "-U", "random", options.device}, 0);
  if (quota) {
    require_success(options, {"e2fsck", "-f", "-p", options.device}, 1);
  }
  return identity;
}

Identity mark(const Options& options) {
  Image image(options.device, Image::Access::kWrite);
  if (const std::optional<std::string> why = image.unfit_as_cache()) {
    throw Error(options.device + ": " + *why);
  }
  Identity identity = izo::tools::mark(image, options.fileset, options.uuid);
  const bool quota = image.has_quota();
  if (identity.changed) {
    image.close();
  }
  if (quota && identity.changed) {
    require_success(options, {"e2fsck", "-f", "-p", options.device}, 1);
  }
  return identity;
}

void tell(const Options& options, const Identity& identity) {
  const izo::kml::Replicas& replicas = identity.replicas;
  const std::string fileset = izo::kml::to_string(replicas.fileset);
  const std::string replica = izo::kml::to_string(replicas.members[replicas.self - std::size_t{1}]);
  if (options.json) {
    nlohmann::ordered_json out = {
        {"device", options.device},           {"changed", identity.changed},
        {"fileset", identity.fileset},        {"fileset_uuid", fileset},
        {"replica", replicas.self},           {"replica_uuid", replica},
        {"replicas", replicas.members.size()}};
    if (options.clone) {
      out["copied_objects"] = identity.copied_objects;
    }
    std::cout << out.dump() << '\n';
  } else if (!options.quiet) {
    std::cout << options.device << ": " << (identity.changed ? "made" : "already")
              << " a cache of the fileset " << identity.fileset << " (" << fileset << "); replica "
              << replicas.self << " of " << replicas.members.size() << " (" << replica << ")";
    if (options.clone) {
      std::cout << "; " << identity.copied_objects << " objects keep their FIDs";
    }
    std::cout << '\n';
  }
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  try {
    if (const std::optional<int> code = take(argc, argv, options)) {
      return *code;
    }
    look_at(options);
    if (options.mkfs) {
      make_file_system(options);
    }
    tell(options, options.clone ? clone(options) : mark(options));
  } catch (const std::exception& error) {
    const std::string what = error.what();
    std::cerr << "mkizofs: " << (what.starts_with(options.device) ? "" : options.device + ": ")
              << what << '\n';
    return kFailed;
  }
  return std::cout.flush() ? 0 : kFailed;
}
