// SPDX-License-Identifier: GPL-2.0
#include "tools/cache_log.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "base/error.h"
#include "kml/sample_records.h"
#include "kml/stream_reader.h"
#include "kml/wire.h"

namespace izo::tools {
namespace {

using Buffer = std::vector<std::byte>;
using kml::little;

constexpr std::uint32_t kBlock = 1024;
constexpr std::uint32_t kSize = 8 * kBlock;
constexpr std::uint64_t kRoom = kSize - kBlock;
constexpr std::uint64_t kEpoch = 99;

template <typename T>
Buffer sealed(T value, std::size_t size) {
  Buffer out;
  value.crc = 0;
  kml::append(out, value);
  value.crc = little(kml::crc32c_without(out, offsetof(T, crc)));
  std::memcpy(out.data(), &value, sizeof(value));
  out.resize(size);
  return out;
}

/// The files of a cache whose log has this many records.
struct Cache {
  std::map<std::string, Buffer> files;
  std::vector<kml::Record> records;
  std::uint64_t end = sizeof(izo_kml_header);
  izo_kml_control control{};

  explicit Cache(std::uint64_t count) {
    Buffer stream(end);
    std::map<std::uint64_t, std::pair<std::uint64_t, std::uint64_t>> firsts;
    kml::SampleRecords samples(3);
    for (std::uint64_t recno = 1; recno <= count; recno++) {
      kml::Record record = samples.make();
      record.offset = end;
      record.epoch = kEpoch;
      record.recno = recno;
      const Buffer bytes = encode(record);
      record.length = static_cast<std::uint32_t>(bytes.size());
      records.push_back(record);
      firsts.try_emplace(end / kRoom, end, recno);
      stream.insert(stream.end(), bytes.begin(), bytes.end());
      end += bytes.size();
    }
    for (std::uint64_t number = 0; number * kRoom < end; number++) {
      const auto [first, recno] =
          firsts.contains(number) ? firsts[number] : std::pair(end, count + 1);
      Buffer segment = sealed(izo_segment{.magic = little(std::uint64_t{IZO_SEGMENT_MAGIC}),
                                          .version = little(std::uint32_t{IZO_KML_VERSION}),
                                          .crc = 0,
                                          .epoch = little(kEpoch),
                                          .base = little(number * kRoom),
                                          .first = little(first),
                                          .first_recno = little(recno),
                                          .reserved = {}},
                              kSize);
      const std::uint64_t part = std::min(kRoom, end - number * kRoom);
      std::copy_n(stream.begin() + static_cast<std::ptrdiff_t>(number * kRoom), part,
                  segment.begin() + kBlock);
      files[name_of(number)] = segment;
    }
    control.magic = little(std::uint64_t{IZO_CONTROL_MAGIC});
    control.version = little(std::uint32_t{IZO_KML_VERSION});
    control.epoch = little(kEpoch);
    control.segment_size = little(kSize);
    control.block_size = little(kBlock);
    control.self = little(std::uint16_t{1});
    seal();
  }

  static std::string name_of(std::uint64_t segment) { return "kml." + std::to_string(segment); }
  void seal() { files["kml"] = sealed(control, kBlock); }

  [[nodiscard]] CacheLog log() const {
    return {"cache",
            [this](const std::string& name) -> std::optional<Buffer> {
              const auto found = files.find(name);
              return found == files.end() ? std::nullopt : std::optional(found->second);
            },
            ""};
  }
};

/// All records that a reader gets, and where it stops.
std::pair<std::vector<kml::Record>, std::uint64_t> drain(CacheLog& log) {
  const kml::Header header = log.header();
  kml::StreamReader reader(kml::Position{header.epoch, header.first, header.first_recno});
  std::vector<kml::Record> records;
  Buffer buffer(777);
  for (;;) {
    kml::StreamReader::Next next = reader.next();
    if (auto* record = std::get_if<kml::Record>(&next)) {
      records.push_back(std::move(*record));
    } else if (std::holds_alternative<kml::Corrupt>(next)) {
      return {records, reader.position().offset};
    } else {
      const std::size_t count =
          log.read(reader.position().offset + reader.waiting(), buffer).value();
      if (count == 0) {
        return {records, reader.position().offset};
      }
      reader.feed(kml::Bytes(buffer).first(count));
    }
  }
}

TEST(CacheLog, RecordsLieAcrossSegments) {
  const Cache cache(60);
  ASSERT_GT(cache.files.size(), 4U);
  CacheLog log = cache.log();
  const auto [records, end] = drain(log);
  EXPECT_EQ(records, cache.records);
  EXPECT_EQ(end, cache.end);
  EXPECT_TRUE(log.may_end_at(end));
  EXPECT_FALSE(log.may_end_at(sizeof(izo_kml_header)));
}

TEST(CacheLog, SegmentsAreARing) {
  Cache cache(60);
  // The oldest one now lies last, and the others in front of it.
  const std::size_t count = cache.files.size() - 1;
  std::map<std::string, Buffer> turned{{"kml", cache.files["kml"]}};
  for (std::size_t number = 0; number < count; number++) {
    turned[Cache::name_of((number + count - 1) % count)] = cache.files[Cache::name_of(number)];
  }
  cache.files = turned;
  CacheLog log = cache.log();
  EXPECT_EQ(drain(log).first, cache.records);
}

TEST(CacheLog, WhatIsTrimmedIsLeftOut) {
  Cache cache(60);
  cache.control.trimmed = little(2 * kRoom + 2000);
  cache.seal();
  CacheLog log = cache.log();
  const kml::Header header = log.header();
  EXPECT_EQ(header.first / kRoom, 2U);
  const auto [records, end] = drain(log);
  EXPECT_EQ(records.size(), 60 - header.first_recno + 1);
  EXPECT_EQ(records.back(), cache.records.back());
}

TEST(CacheLog, SegmentsOfAnotherLifeAreLeftOut) {
  Cache cache(60);
  auto header = kml::load<izo_segment>(cache.files["kml.1"]);
  header.epoch = little(kEpoch + 1);
  const Buffer head = sealed(header, sizeof(header));
  std::ranges::copy(head, cache.files["kml.1"].begin());
  EXPECT_EQ(cache.log().header().first / kRoom, 2U);
  // Half made by a crash.
  cache.files["kml.2"].resize(kBlock);
  EXPECT_EQ(cache.log().header().first / kRoom, 3U);
}

TEST(CacheLog, OffsetsBeyondItAreRefused) {
  const Cache cache(5);
  CacheLog log = cache.log();
  Buffer buffer(100);
  EXPECT_THROW(log.read(1 << 30, buffer), Error);
}

TEST(CacheLog, DamageIsSaid) {
  const auto said = [](const Cache& cache) -> std::string {
    try {
      (void)cache.log();
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  Cache cache(5);
  cache.files["kml"][100] ^= std::byte{1};
  EXPECT_NE(said(cache).find("control block is wrong"), std::string::npos) << said(cache);
  cache.files["kml"].resize(50);
  EXPECT_NE(said(cache).find("cut off"), std::string::npos);
  cache.files.erase("kml");
  EXPECT_NE(said(cache).find("no log yet"), std::string::npos);
  cache.control.segment_size = little(kBlock);
  cache.seal();
  EXPECT_NE(said(cache).find("sizes that no log has"), std::string::npos);
  cache.control.segment_size = little(kSize);
  cache.seal();
  cache.files["kml.0"][0] = std::byte{0};
  EXPECT_NE(said(cache).find("no segment"), std::string::npos);
}

}  // namespace
}  // namespace izo::tools
