// SPDX-License-Identifier: GPL-2.0
// mkizofs(8): makes an ext4 the cache of a fileset, or a copy of a cache a replica of its own.
#include <getopt.h>

#include <exception>
#include <iostream>
#include <nlohmann/json.hpp>

#include "tools/cache_tables.h"
#include "tools/program.h"

namespace {

using izo::ext::Error;
using izo::ext::Image;
using izo::tools::Finished;
using izo::tools::Identity;
using izo::tools::run_program;

constexpr int kFailed = 1;
constexpr int kUsage = 2;

constexpr const char* kHelp =
    "usage: mkizofs [OPTION]... DEVICE\n"
    "\n"
    "Makes the ext3 or ext4 on DEVICE (or in an image file) the cache of a fileset, so that it can "
    "be\n"
    "mounted as intermezzo. What is on it stays. It must not be mounted.\n"
    "\n"
    "  --fileset=NAME       name of the fileset (rootset)\n"
    "  --fileset-uuid=UUID  its UUID, if other caches have it already (random)\n"
    "  --mkfs               make an ext4 first\n"
    "  --force              with --mkfs: whatever is there is lost\n"
    "  --clone              DEVICE is a byte copy of a replica's cache: make it another replica\n"
    "  --of-server          with --clone: that replica is the server it will be a client of\n"
    "  --json               say what was done as a JSON object\n"
    "  --quiet              say nothing\n"
    "  --help, --version\n"
    "\n"
    "Exit codes: 0 done, or nothing to do; 1 refused or failed; 2 wrong usage. See mkizofs(8).\n";

struct Options {
  std::string device;
  std::string fileset = "rootset";
  std::optional<izo::kml::Uuid> uuid;
  bool mkfs = false;
  bool force = false;
  bool clone = false;
  bool of_server = false;
  bool json = false;
  bool quiet = false;
};

int wrong_usage(const std::string& what) {
  std::cerr << "mkizofs: " << what << "; see mkizofs --help\n";
  return kUsage;
}

/// Fills in `options`; an exit code if the program ends here.
std::optional<int> parse(int argc, char** argv, Options& options) {
  enum {
    kFileset = 1,
    kUuid,
    kMkfs,
    kForce,
    kClone,
    kOfServer,
    kJson,
    kQuiet,
    kHelpAsked,
    kVersion
  };
  constexpr option kLong[] = {{"fileset", required_argument, nullptr, kFileset},
                              {"fileset-uuid", required_argument, nullptr, kUuid},
                              {"mkfs", no_argument, nullptr, kMkfs},
                              {"force", no_argument, nullptr, kForce},
                              {"clone", no_argument, nullptr, kClone},
                              {"of-server", no_argument, nullptr, kOfServer},
                              {"json", no_argument, nullptr, kJson},
                              {"quiet", no_argument, nullptr, kQuiet},
                              {"help", no_argument, nullptr, kHelpAsked},
                              {"version", no_argument, nullptr, kVersion},
                              {}};
  bool named = false;
  for (int found = 0; (found = getopt_long(argc, argv, "", kLong, nullptr)) != -1;) {
    switch (found) {
      case kFileset:
        options.fileset = optarg;
        named = true;
        if (const auto why = izo::tools::unfit_as_name(options.fileset)) {
          return wrong_usage("--fileset=" + options.fileset + ": " + *why);
        }
        break;
      case kUuid:
        options.uuid = izo::kml::uuid_from(optarg);
        if (!options.uuid) {
          return wrong_usage("--fileset-uuid=" + std::string(optarg) + ": no UUID");
        }
        break;
      case kMkfs:
        options.mkfs = true;
        break;
      case kForce:
        options.force = true;
        break;
      case kClone:
        options.clone = true;
        break;
      case kOfServer:
        options.of_server = true;
        break;
      case kJson:
        options.json = true;
        break;
      case kQuiet:
        options.quiet = true;
        break;
      case kHelpAsked:
        std::cout << kHelp;
        return 0;
      case kVersion:
        std::cout << "mkizofs " IZO_VERSION "\n";
        return 0;
      default:
        std::cerr << "See mkizofs --help.\n";
        return kUsage;
    }
  }
  if (optind + 1 != argc) {
    return wrong_usage(optind == argc ? "DEVICE is missing" : "there is more than one DEVICE");
  }
  options.device = argv[optind];
  if (options.of_server && !options.clone) {
    return wrong_usage("--of-server goes with --clone");
  }
  if (options.clone && (options.mkfs || named || options.uuid)) {
    return wrong_usage("--clone takes the fileset from the copy, and no other option about it");
  }
  if (options.force && !options.mkfs) {
    return wrong_usage("--force goes with --mkfs");
  }
  return std::nullopt;
}

/// The last line that a program said.
std::string last_line(const Finished& finished) {
  std::string text = finished.errors.empty() ? finished.output : finished.errors;
  while (text.ends_with('\n')) {
    text.pop_back();
  }
  const std::size_t newline = text.rfind('\n');
  return newline == std::string::npos ? text : text.substr(newline + 1);
}

void make_file_system(const Options& options) {
  if (!options.force) {
    const Finished probe =
        run_program({"blkid", "-p", "-s", "TYPE", "-o", "value", options.device});
    const std::string type = last_line({.output = probe.output});
    if (!type.empty()) {
      throw Error(options.device + ": it holds a file system (" + type +
                  "); leave out --mkfs to keep it, or give --force to lose it");
    }
  }
  const Finished made = run_program({"mke2fs", "-q", "-F", "-t", "ext4", "-I", "256", "-O",
                                     "^fast_commit,^ea_inode,^casefold", options.device});
  if (made.code != 0) {
    throw Error(options.device + ": mke2fs failed: " + last_line(made));
  }
}

void require_success(const Options& options, const std::vector<std::string>& words, int most) {
  const Finished finished = run_program(words);
  if (finished.code > most) {
    throw Error(options.device + ": " + words.front() + " failed: " + last_line(finished));
  }
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
    if (const std::optional<int> code = parse(argc, argv, options)) {
      return *code;
    }
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
