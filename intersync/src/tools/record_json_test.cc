// SPDX-License-Identifier: GPL-2.0
#include "tools/record_json.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "kml/golden.h"
#include "kml/sample_records.h"

namespace izo::tools {
namespace {

using kml::Record;
using Json = nlohmann::json;

// The way back, from what izoctl(8) says of the members, to see that nothing is lost.

std::string bytes(const Json& json) {
  if (json.is_string()) {
    return json;
  }
  const std::string digits = json.at("hex");
  std::string out;
  for (std::size_t at = 0; at < digits.size(); at += 2) {
    out += static_cast<char>(std::stoi(digits.substr(at, 2), nullptr, 16));
  }
  return out;
}

kml::Fid fid(const std::string& text) {
  if (text == "root") {
    return kml::kRootFid;
  }
  const std::size_t first = text.find(':');
  const std::size_t second = text.find(':', first + 1);
  return {
      .replica = static_cast<std::uint16_t>(std::stoul(text.substr(0, first))),
      .ino = std::stoull(text.substr(first + 1, second)),
      .generation = static_cast<std::uint32_t>(std::stoul(text.substr(second + 1), nullptr, 16))};
}

kml::Time time(const Json& json) {
  return {.seconds = json.at("sec"), .nanoseconds = json.at("nsec")};
}

kml::Place place(const Json& json) {
  return {.dir = fid(json.at("dir")),
          .mtime = json.contains("mtime") ? time(json.at("mtime")) : kml::Time{},
          .name = bytes(json.at("name"))};
}

std::uint32_t number(const Json& json, int base) {
  return static_cast<std::uint32_t>(std::stoul(json.get<std::string>(), nullptr, base));
}

std::uint64_t device(const std::string& text) {
  const std::size_t colon = text.find(':');
  return std::stoull(text.substr(0, colon)) << 32 | std::stoull(text.substr(colon + 1));
}

kml::Attr attr(const Json& json) {
  kml::Attr out;
  const auto take = [&](std::uint32_t field, const char* name, auto& to, const auto& from) {
    if (json.contains(name)) {
      out.valid |= field;
      to = from(json.at(name));
    }
  };
  const auto plain = [](const Json& value) { return value.get<std::uint32_t>(); };
  take(IZO_ATTR_MODE, "mode", out.mode, [](const Json& value) { return number(value, 8); });
  take(IZO_ATTR_UID, "uid", out.uid, plain);
  take(IZO_ATTR_GID, "gid", out.gid, plain);
  take(IZO_ATTR_SIZE, "size", out.size,
       [](const Json& value) { return value.get<std::uint64_t>(); });
  take(IZO_ATTR_MTIME, "mtime", out.mtime, time);
  take(IZO_ATTR_CTIME, "ctime", out.ctime, time);
  take(IZO_ATTR_ATIME, "atime", out.atime, time);
  take(IZO_ATTR_RDEV, "rdev", out.rdev, device);
  take(IZO_ATTR_FSFLAGS, "fsflags", out.fsflags,
       [](const Json& value) { return number(value, 16); });
  take(IZO_ATTR_PROJID, "projid", out.projid, plain);
  return out;
}

std::uint32_t bits(const Json& names, std::vector<std::string_view> (*name)(std::uint32_t)) {
  const auto set = names.get<std::set<std::string>>();
  std::uint32_t out = 0;
  for (std::uint32_t bit = 1; bit < 0x100; bit <<= 1) {
    const std::vector<std::string_view> of_bit = name(bit);
    if (!of_bit.empty() && set.contains(std::string(of_bit[0]))) {
      out |= bit;
    }
  }
  return out;
}

void take_items(const Json& json, Record& out) {
  const auto has = [&](const char* name) { return json.contains(name); };
  if (has("place")) {
    out.place = place(json["place"]);
  }
  if (has("to")) {
    out.to = place(json["to"]);
  }
  if (has("hint")) {
    out.hint = place(json["hint"]);
  }
  if (has("attr")) {
    out.attr = attr(json["attr"]);
  }
  if (has("replaced")) {
    const Json& other = json["replaced"];
    out.replaced = kml::Other{
        .fid = fid(other["fid"]), .nlink = other["nlink"], .mtime = time(other["mtime"])};
  }
  if (has("left")) {
    out.whiteout =
        kml::Whiteout{.fid = fid(json["left"]["fid"]), .attr = attr(json["left"]["attr"])};
  }
  if (has("target")) {
    out.target = bytes(json["target"]);
  }
  if (has("groups")) {
    out.groups = json["groups"].get<std::vector<std::uint32_t>>();
  }
  for (const Json& xattr : json.value("xattrs", Json::array())) {
    out.xattrs.push_back({.name = bytes(xattr["name"]), .value = bytes(xattr["value"])});
  }
  for (const Json& range : json.value("ranges", Json::array())) {
    out.ranges.push_back({.start = range[0], .end = range[1]});
  }
}

Record from_json(const Json& json) {
  Record out;
  for (const kml::Op op : kml::kOps) {
    if (name_of(op) == json["op"].get<std::string>()) {
      out.op = op;
    }
  }
  const kml::Time then = time(json["time"]);
  out.length = json["length"];
  out.origin = json["origin"];
  out.offset = json["offset"];
  out.epoch = std::stoull(json["epoch"].get<std::string>(), nullptr, 16);
  out.recno = json["recno"];
  out.origin_recno = json["origin_recno"];
  out.seen = json["seen"];
  out.time = static_cast<std::uint64_t>(then.seconds) * 1'000'000'000 + then.nanoseconds;
  out.uid = json["uid"];
  out.gid = json["gid"];
  out.aspects = bits(json["aspects"], kml::names_of_aspects);
  out.nlink = json["nlink"];
  out.flags = bits(json["flags"], kml::names_of_flags);
  out.object = fid(json["object"]);
  take_items(json, out);
  return out;
}

TEST(RecordJson, OfTheCorpusIsAsCommitted) {
  EXPECT_EQ(kml::differs_from_golden(IZO_TOP "/intersync/src/tools/record_json_golden.txt",
                                     [](const Record& record) { return to_json(record).dump(); }),
            "");
}

TEST(RecordJson, NothingIsLost) {
  kml::SampleRecords samples(11);
  for (int i = 0; i < 3000; i++) {
    Record record = samples.make();
    record.length = static_cast<std::uint32_t>(i);
    const std::string text = to_json(record).dump();
    ASSERT_EQ(from_json(Json::parse(text)), record) << text;
    ASSERT_EQ(text.find('\n'), std::string::npos);
  }
}

TEST(RecordJson, BytesThatAreNoTextAreHexadecimal) {
  EXPECT_EQ(bytes_to_json("ümläut").dump(), "\"ümläut\"");
  EXPECT_EQ(bytes_to_json("").dump(), R"("")");
  EXPECT_EQ(bytes_to_json("\xff"
                          "a")
                .dump(),
            R"({"hex":"ff61"})");
  EXPECT_EQ(bytes_to_json(std::string("a\0b", 3)).dump(), R"({"hex":"610062"})");
}

}  // namespace
}  // namespace izo::tools
