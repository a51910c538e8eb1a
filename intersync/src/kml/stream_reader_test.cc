// SPDX-License-Identifier: GPL-2.0
#include "kml/stream_reader.h"

#include <gtest/gtest.h>

#include "kml/sample_records.h"

namespace izo::kml {
namespace {

using Buffer = std::vector<std::byte>;

/// A log with fillers between some of its records.
struct SampleLog {
  Header header;
  std::vector<Record> records;
  Buffer bytes;

  explicit SampleLog(int count, std::uint64_t seed = 1) {
    SampleRecords samples(seed);
    header = {.fileset = std::string(16, 'f'),
              .replica = std::string(16, 'r'),
              .self = 1,
              .block_size = 4096,
              .flags = 0,
              .epoch = 77,
              .first = 5000,
              .first_recno = 31};
    bytes = encode(header);
    for (int i = 0; i < count; i++) {
      if (samples.below(3) == 0) {
        add(encode(Filler{.length = static_cast<std::uint32_t>(40 + 8 * samples.below(9)),
                          .offset = end(),
                          .epoch = header.epoch}));
      }
      Record record = samples.make();
      record.offset = end();
      record.epoch = header.epoch;
      record.recno = header.first_recno + static_cast<std::uint64_t>(i);
      const Buffer more = encode(record);
      record.length = static_cast<std::uint32_t>(more.size());
      records.push_back(record);
      add(more);
    }
  }

  [[nodiscard]] std::uint64_t end() const {
    return header.first + bytes.size() - sizeof(izo_kml_header);
  }

 private:
  void add(const Buffer& more) { bytes.insert(bytes.end(), more.begin(), more.end()); }
};

/// All records that come, and what comes after them.
std::pair<std::vector<Record>, StreamReader::Next> drain(StreamReader& reader) {
  std::vector<Record> records;
  for (;;) {
    StreamReader::Next next = reader.next();
    if (!std::holds_alternative<Record>(next)) {
      return {records, next};
    }
    records.push_back(std::get<Record>(std::move(next)));
  }
}

std::string complaint(const StreamReader::Next& next) {
  const auto* corrupt = std::get_if<Corrupt>(&next);
  return corrupt != nullptr ? corrupt->what : "";
}

TEST(StreamReader, PiecesOfAnySizeMakeTheSame) {
  const SampleLog log(200);
  for (const std::size_t piece : {1UL, 7UL, 4096UL, log.bytes.size()}) {
    StreamReader reader;
    std::vector<Record> records;
    for (std::size_t at = 0; at < log.bytes.size(); at += piece) {
      reader.feed(Bytes(log.bytes).subspan(at, std::min(piece, log.bytes.size() - at)));
      auto [more, next] = drain(reader);
      ASSERT_TRUE(std::holds_alternative<NeedMore>(next)) << complaint(next);
      records.insert(records.end(), more.begin(), more.end());
    }
    ASSERT_EQ(records, log.records) << piece;
    EXPECT_EQ(reader.header(), log.header);
    EXPECT_EQ(reader.position(), (Position{.epoch = 77, .offset = log.end(), .recno = 231}));
    EXPECT_EQ(reader.waiting(), 0U);
  }
}

TEST(StreamReader, GoesOnFromAPosition) {
  const SampleLog log(20);
  const Record& tenth = log.records[10];
  StreamReader reader({.epoch = 77, .offset = tenth.offset, .recno = tenth.recno});
  reader.feed(Bytes(log.bytes).subspan(tenth.offset - log.header.first + sizeof(izo_kml_header)));
  auto [records, next] = drain(reader);
  EXPECT_EQ(records, std::vector<Record>(log.records.begin() + 10, log.records.end()));
  EXPECT_FALSE(reader.header());
}

TEST(StreamReader, LearnsTheNumberWhereItIsNotToldOne) {
  const SampleLog log(20);
  StreamReader reader({.epoch = 77, .offset = log.records[10].offset, .recno = 0});
  const auto from = [&](int record) {
    return Bytes(log.bytes).subspan(log.records[static_cast<std::size_t>(record)].offset -
                                    log.header.first + sizeof(izo_kml_header));
  };
  reader.feed(from(10).first(log.records[10].length));
  EXPECT_EQ(std::get<Record>(reader.next()), log.records[10]);
  EXPECT_EQ(reader.position().recno, log.records[11].recno);
  reader.feed(from(11).first(log.records[12].offset - log.records[11].offset));
  EXPECT_EQ(std::get<Record>(reader.next()), log.records[11]);
}

TEST(StreamReader, CutAnywhereItGivesWhatIsWhole) {
  const SampleLog log(5);
  for (std::size_t count = 0; count < log.bytes.size(); count++) {
    StreamReader reader;
    reader.feed(Bytes(log.bytes).first(count));
    auto [records, next] = drain(reader);
    ASSERT_TRUE(std::holds_alternative<NeedMore>(next)) << count;
    ASSERT_GT(std::get<NeedMore>(next).at_least, reader.waiting());
    ASSERT_TRUE(std::equal(records.begin(), records.end(), log.records.begin()));
  }
}

TEST(StreamReader, AfterCorruptNothing) {
  SampleLog log(5);
  log.bytes[log.records[2].offset - log.header.first + sizeof(izo_kml_header) + 60] ^= std::byte{1};
  StreamReader reader;
  reader.feed(log.bytes);
  auto [records, next] = drain(reader);
  EXPECT_EQ(records.size(), 2U);
  EXPECT_NE(complaint(next).find("checksum"), std::string::npos) << complaint(next);
  EXPECT_EQ(reader.next(), next);
  reader.feed(encode(log.records[3]));
  EXPECT_EQ(reader.next(), next);
}

TEST(StreamReader, RecordsOutOfPlaceAreRefused) {
  const SampleLog log(3);
  const Position start{.epoch = 77, .offset = log.records[1].offset, .recno = log.records[1].recno};
  const Buffer bytes = encode(log.records[1]);
  const auto said = [&](Position position) {
    StreamReader reader(position);
    reader.feed(bytes);
    return complaint(reader.next());
  };
  EXPECT_EQ(said(start), "");
  EXPECT_NE(said({start.epoch, start.offset + 8, start.recno}).find("its offset is"),
            std::string::npos);
  EXPECT_NE(said({start.epoch + 1, start.offset, start.recno}).find("another epoch"),
            std::string::npos);
  EXPECT_NE(said({start.epoch, start.offset, start.recno + 1}).find("where number"),
            std::string::npos);
}

}  // namespace
}  // namespace izo::kml
