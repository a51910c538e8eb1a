// SPDX-License-Identifier: GPL-2.0
#include "tools/cache_tables.h"

#include <linux/intermezzo.h>

#include <algorithm>
#include <array>
#include <random>
#include <set>
#include <string_view>

#include "base/error.h"
#include "kernel/upcall.h"
#include "kml/quoted.h"
#include "kml/received.h"
#include "tools/cache_log.h"

namespace izo::tools {
namespace {

using ext::Image;
using ext::Inode;

constexpr const char* kDefaultName = "rootset";
constexpr const char* kFolder = ".intermezzo";
constexpr const char* kReplicas = "replicas";
constexpr const char* kBase = "base";
constexpr const char* kLog = "kml";
constexpr const char* kReceived = "last_rcvd";
/// Bytes of a copy of the positions, as kmod/log_open.c has it, unless blocks are larger.
constexpr std::size_t kReceivedLeast = 4096;
constexpr const char* kFidXattr = "trusted.izo";
constexpr std::size_t kReplicasMax = 0xffff;

kml::Uuid random_uuid() {
  std::random_device random;
  kml::Uuid out;
  for (std::uint8_t& byte : out) {
    byte = static_cast<std::uint8_t>(random());
  }
  out[6] = static_cast<std::uint8_t>((out[6] & 0x0f) | 0x40);  // RFC 4122: version 4, variant 1
  out[8] = static_cast<std::uint8_t>((out[8] & 0x3f) | 0x80);
  return out;
}

/// .intermezzo and the one fileset in it.
struct Fileset {
  Inode folder = 0;
  Inode inode = 0;
  std::string name;
};

std::optional<Fileset> find_fileset(const Image& image) {
  const std::optional<Inode> folder = image.lookup(Image::root(), kFolder);
  if (!folder) {
    return std::nullopt;
  }
  Fileset found{.folder = *folder};
  for (const std::string& name : image.names(*folder)) {
    const Inode inode = image.lookup(*folder, name).value();
    if (!image.is_directory(inode)) {
      continue;
    }
    if (found.inode != 0) {
      throw Error(std::string(kFolder) + " holds two filesets, " + found.name + " and " + name +
                  "; remove the one that is not used");
    }
    found.inode = inode;
    found.name = name;
  }
  return found;
}

std::string where(const Fileset& fileset, const char* file) {
  return std::string(kFolder) + "/" + fileset.name + "/" + file;
}

std::optional<kml::Replicas> read_replicas(const Image& image, const Fileset& fileset) {
  const std::optional<Inode> inode = image.lookup(fileset.inode, kReplicas);
  if (!inode) {
    return std::nullopt;
  }
  const kml::DecodedReplicas decoded = kml::decode_replicas(image.read(*inode));
  if (const auto* corrupt = std::get_if<kml::Corrupt>(&decoded)) {
    throw Error(where(fileset, kReplicas) + " is damaged: " + corrupt->what +
                "; restore it from another copy of this cache");
  }
  return std::get<kml::Replicas>(decoded);
}

void write_replicas(Image& image, const Fileset& fileset, const kml::Replicas& replicas) {
  std::vector<std::byte> bytes = kml::encode(replicas);
  // Whole blocks, as the kernel makes it.
  const std::size_t block = image.block_size();
  bytes.resize((bytes.size() + block - 1) / block * block);
  image.write(fileset.inode, kReplicas, bytes);
}

bool is_log(std::string_view name) {
  return name == kLog || name.starts_with("kml.") || name == "lml" || name == kReceived;
}

/// The objects that are the kernel's own: they have no FIDs.
std::set<Inode> own_inodes(const Image& image, const Fileset& fileset) {
  std::set<Inode> own{Image::root(), fileset.folder, fileset.inode};
  for (const Inode folder : {fileset.folder, fileset.inode}) {
    for (const std::string& name : image.names(folder)) {
      own.insert(image.lookup(folder, name).value());
    }
  }
  return own;
}

kml::Base base_of_origin(const Image& image, const Fileset& fileset) {
  const std::optional<Inode> inode = image.lookup(fileset.inode, kBase);
  if (!inode) {
    return {};
  }
  kml::DecodedBase decoded = kml::decode_base(image.read(*inode));
  if (const auto* corrupt = std::get_if<kml::Corrupt>(&decoded)) {
    throw Error(where(fileset, kBase) + " is damaged: " + corrupt->what +
                "; copy the origin's disk again");
  }
  return std::get<kml::Base>(std::move(decoded));
}

/// Who made each object of the copy; those marked with an attribute say it themselves.
kml::Base base_of_copy(const Image& image, const Fileset& fileset, std::uint16_t origin) {
  const kml::Base before = base_of_origin(image, fileset);
  const std::set<Inode> own = own_inodes(image, fileset);
  kml::Base out;
  image.each_inode([&](const ext::InodeInfo& inode) {
    if (inode.number < image.first_inode() || own.contains(inode.number) ||
        image.has_xattr(inode.number, kFidXattr)) {
      return;
    }
    kml::BaseEntry entry{.generation = inode.generation, .replica = origin};
    if (inode.number < before.size() && before[inode.number].replica != 0 &&
        before[inode.number].generation == inode.generation) {
      entry.replica = before[inode.number].replica;
    }
    out.resize(inode.number + std::size_t{1});
    out[inode.number] = entry;
  });
  return out;
}

/// How far the copy has the origin's log. Empty if that cannot be told, or the origin is a client:
/// what it has changed its server may not have. Then the server's log from its beginning tells what
/// the copy must be.
std::vector<kml::ReceivedSlot> position_of_copy(const Image& image, const Fileset& fileset,
                                                const kml::Replicas& replicas) {
  const auto read = [&](const std::string& name) -> std::optional<std::vector<std::byte>> {
    const std::optional<Inode> inode = image.lookup(fileset.inode, name);
    return inode ? std::optional(image.read(*inode)) : std::nullopt;
  };
  const kml::DecodedReceived decoded =
      kml::decode_received(read(kReceived).value_or(std::vector<std::byte>()));
  if (const auto* slots = std::get_if<std::vector<kml::ReceivedSlot>>(&decoded)) {
    for (const kml::ReceivedSlot& slot : *slots) {
      if ((slot.flags & IZO_RCVD_UPSTREAM) != 0) {
        return {};
      }
    }
  }
  if (!read(kLog)) {
    return {};
  }
  try {
    CacheLog log(where(fileset, kLog), read, "");
    const kml::Position end = end_of(log);
    return {{.replica = replicas.members.at(replicas.self - std::size_t{1}),
             .epoch = end.epoch,
             .recno = end.recno - 1,
             .offset = end.offset,
             .outcome = 0,
             .flags = IZO_RCVD_UPSTREAM}};
  } catch (const Damaged&) {
    return {};
  }
}

}  // namespace

CommandOption fileset_option(std::optional<std::string>& out) {
  return {"fileset", true, [&out](const std::string& value) {
            out = value;
            return kernel::is_fileset_name(value)
                       ? std::string()
                       : "--fileset=" + value + ": a name has 1 to " +
                             std::to_string(INTERMEZZO_FILESET_MAX) +
                             " letters, digits and ._-+@:, and no dot in front";
          }};
}

Identity mark(Image& image, const std::optional<std::string>& wanted,
              const std::optional<kml::Uuid>& uuid) {
  std::optional<Fileset> found = find_fileset(image);
  const std::string fileset = wanted                       ? *wanted
                              : found && found->inode != 0 ? found->name
                                                           : kDefaultName;
  if (!kernel::is_fileset_name(fileset)) {
    throw Error(".intermezzo holds " + kml::quoted(fileset) +
                ", which is no fileset's name; remove it, or take another file system");
  }
  if (found && found->inode != 0 && found->name != fileset) {
    throw Error("it is a cache of the fileset " + found->name +
                ", and a cache holds one; give --fileset=" + found->name +
                " or take another file system");
  }
  if (found && found->inode != 0) {
    if (const std::optional<kml::Replicas> replicas = read_replicas(image, *found)) {
      if (uuid && *uuid != replicas->fileset) {
        throw Error("its fileset has the UUID " + kml::to_string(replicas->fileset) + " already");
      }
      return {.fileset = fileset, .replicas = *replicas};
    }
    for (const char* const name : {kReceived, kBase, kLog}) {
      if (image.lookup(found->inode, name)) {
        throw Error(where(*found, kReplicas) + " is missing, and " + where(*found, name) +
                    " is there; restore it from another copy of this cache, or save the tree and " +
                    "make the cache anew");
      }
    }
  }
  if (!found) {
    found = Fileset{.folder = image.make_directory(Image::root(), kFolder)};
  }
  if (found->inode == 0) {
    found->inode = image.make_directory(found->folder, fileset);
    found->name = fileset;
  }
  Identity made{.fileset = fileset, .changed = true};
  made.replicas = {.fileset = uuid ? *uuid : random_uuid(), .self = 1, .members = {random_uuid()}};
  write_replicas(image, *found, made.replicas);
  return made;
}

Identity clone(Image& image, bool of_server) {
  const std::optional<Fileset> fileset = find_fileset(image);
  std::optional<kml::Replicas> replicas;
  if (fileset && fileset->inode != 0) {
    replicas = read_replicas(image, *fileset);
  }
  if (!replicas) {
    throw Error("it is no cache; --clone is for a copy of one, mkizofs without it makes one");
  }
  if (replicas->members.size() == kReplicasMax) {
    throw Error("its fileset has 65535 replicas, and no number is left for one more");
  }
  const kml::Base base = base_of_copy(image, *fileset, replicas->self);
  const std::vector<std::byte> bytes = kml::encode(base);
  // To any other server the clone's changes would say that they had seen what they have not.
  const std::vector<kml::ReceivedSlot> position =
      of_server ? position_of_copy(image, *fileset, *replicas) : std::vector<kml::ReceivedSlot>();
  std::vector<std::byte> received;
  if (!position.empty()) {
    received =
        kml::encode_received(position, std::max<std::size_t>(image.block_size(), kReceivedLeast));
  }
  // What the origin's logs give back is for the clone's.
  if ((bytes.size() + received.size()) / image.block_size() + 8 > image.free_blocks()) {
    throw Error("there is no room for a table of " +
                std::to_string(bytes.size() + received.size()) +
                " bytes; make some on the origin and copy it again");
  }
  for (const std::string& name : image.names(fileset->inode)) {
    if (is_log(name)) {
      image.remove(fileset->inode, name);
    }
  }
  image.write(fileset->inode, kBase, bytes);
  if (!received.empty()) {
    image.write(fileset->inode, kReceived, received);
  }
  replicas->members.push_back(random_uuid());
  replicas->self = static_cast<std::uint16_t>(replicas->members.size());
  write_replicas(image, *fileset, *replicas);
  return {.fileset = fileset->name,
          .replicas = *replicas,
          .changed = true,
          .copied_objects = static_cast<std::size_t>(std::ranges::count_if(
              base, [](const kml::BaseEntry& entry) { return entry.replica != 0; }))};
}

}  // namespace izo::tools
