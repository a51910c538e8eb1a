// SPDX-License-Identifier: GPL-2.0
#include "tools/record_json.h"

#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "kml/quoted.h"

namespace izo::tools {
namespace {

using Json = nlohmann::ordered_json;

template <typename T>
std::string print(const char* format, T value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), format, value);
  return text.data();
}

Json json_of(const kml::Time& time) {
  return {{"sec", time.seconds}, {"nsec", time.nanoseconds}};
}

Json json_of(const kml::Place& place) {
  return {{"dir", to_string(place.dir)},
          {"name", bytes_to_json(place.name)},
          {"mtime", json_of(place.mtime)}};
}

Json json_of(const kml::Attr& attr) {
  Json out = Json::object();
  const auto put = [&](std::uint32_t field, const char* name, const auto& value) {
    if (attr.has(field)) {
      out[name] = value;
    }
  };
  put(IZO_ATTR_MODE, "mode", print("%07o", attr.mode));
  put(IZO_ATTR_UID, "uid", attr.uid);
  put(IZO_ATTR_GID, "gid", attr.gid);
  put(IZO_ATTR_SIZE, "size", attr.size);
  put(IZO_ATTR_MTIME, "mtime", json_of(attr.mtime));
  put(IZO_ATTR_CTIME, "ctime", json_of(attr.ctime));
  put(IZO_ATTR_ATIME, "atime", json_of(attr.atime));
  put(IZO_ATTR_RDEV, "rdev",
      std::to_string(attr.rdev >> 32) + ':' + std::to_string(attr.rdev & 0xffffffff));
  put(IZO_ATTR_FSFLAGS, "fsflags", print("0x%x", attr.fsflags));
  put(IZO_ATTR_PROJID, "projid", attr.projid);
  return out;
}

void put_items(Json& out, const kml::Record& record) {
  const auto put_place = [&](const char* name, const std::optional<kml::Place>& place) {
    if (place) {
      out[name] = json_of(*place);
    }
  };
  put_place("place", record.place);
  put_place("to", record.to);
  if (record.hint) {
    out["hint"] = {{"dir", to_string(record.hint->dir)},
                   {"name", bytes_to_json(record.hint->name)}};
  }
  if (record.attr) {
    out["attr"] = json_of(*record.attr);
  }
  if (record.replaced) {
    out["replaced"] = {{"fid", to_string(record.replaced->fid)},
                       {"nlink", record.replaced->nlink},
                       {"mtime", json_of(record.replaced->mtime)}};
  }
  if (record.whiteout) {
    out["left"] = {{"fid", to_string(record.whiteout->fid)},
                   {"attr", json_of(record.whiteout->attr)}};
  }
  if (record.target) {
    out["target"] = bytes_to_json(*record.target);
  }
  for (const kml::Xattr& xattr : record.xattrs) {
    out["xattrs"].push_back(
        {{"name", bytes_to_json(xattr.name)}, {"value", bytes_to_json(xattr.value)}});
  }
  if (!record.groups.empty()) {
    out["groups"] = record.groups;
  }
  for (const kml::Range& range : record.ranges) {
    out["ranges"].push_back(Json::array({range.start, range.end}));
  }
}

}  // namespace

Json bytes_to_json(const std::string& bytes) {
  if (kml::is_utf8(bytes) && bytes.find('\0') == std::string::npos) {
    return bytes;
  }
  return {{"hex", kml::hex(bytes)}};
}

Json to_json(const kml::Record& record) {
  Json out = {{"recno", record.recno},
              {"offset", record.offset},
              {"length", record.length},
              {"epoch", print("0x%016llx", static_cast<unsigned long long>(record.epoch))},
              {"time", json_of(logged_at(record))},
              {"op", name_of(record.op)},
              {"object", to_string(record.object)},
              {"nlink", record.nlink},
              {"uid", record.uid},
              {"gid", record.gid},
              {"origin", record.origin},
              {"origin_recno", record.origin_recno},
              {"seen", record.seen},
              {"flags", kml::names_of_flags(record.flags)},
              {"aspects", kml::names_of_aspects(record.aspects)}};
  put_items(out, record);
  return out;
}

}  // namespace izo::tools
