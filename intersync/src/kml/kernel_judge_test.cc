// SPDX-License-Identifier: GPL-2.0
// The two codecs against each other: what one takes for a record the other does too.
#include "kml/kernel_judge.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "kml/corpus.h"
#include "kml/sample_records.h"
#include "kml/wire.h"

namespace izo::kml {
namespace {

using Buffer = std::vector<std::byte>;

TEST(KernelJudge, JudgesTheCorpusAlike) {
  for (const CorpusFile& file : make_corpus()) {
    if (file.name.starts_with("crash/")) {
      continue;
    }
    const std::string wanted = file.name.starts_with("fail/") ? "bad" : file.verdict;
    EXPECT_EQ(kernel_verdict(file.bytes), wanted) << file.name;
    EXPECT_EQ(user_verdict(file.bytes), wanted) << file.name;
  }
}

TEST(KernelJudge, EncodesTheCorpusAlike) {
  for (const CorpusFile& file : make_corpus()) {
    if (file.verdict == "record") {
      EXPECT_EQ(kernel_encode(file.bytes), file.bytes) << file.name;
    }
  }
}

TEST(KernelJudge, EncodesSamplesAlike) {
  SampleRecords samples(1);
  for (int i = 0; i < 2000; i++) {
    const Buffer bytes = encode(samples.make());
    ASSERT_EQ(kernel_encode(bytes), bytes) << i;
  }
}

/// Where a log ends, as izo_log_find_tail() in kmod/kml.c goes through it: records, and the offset.
std::pair<std::uint64_t, std::size_t> kernel_end(const Buffer& log, const Header& header) {
  std::uint64_t recno = header.first_recno;
  std::size_t at = header.first;
  for (;;) {
    const Bytes rest = Bytes(log).subspan(at);
    const std::string verdict = kernel_verdict(rest);
    izo_kml_head head{};
    std::memcpy(&head, rest.data(), std::min(rest.size(), sizeof(head)));
    if ((verdict != "record" && verdict != "filler") || little(head.offset) != at ||
        little(head.epoch) != header.epoch ||
        (verdict == "record" && little(head.recno) != recno)) {
      return {recno - header.first_recno, at};
    }
    recno += verdict == "record" ? 1 : 0;
    at += little(head.len);
  }
}

TEST(KernelJudge, CrashedLogsEndWhereTheManifestSays) {
  int logs = 0;
  for (const CorpusFile& file : make_corpus()) {
    const DecodedHeader header = decode_header(file.bytes);
    if (!file.name.starts_with("crash/") || !std::holds_alternative<Header>(header)) {
      continue;
    }
    const auto [records, offset] = kernel_end(file.bytes, std::get<Header>(header));
    const std::string end =
        std::to_string(records) + " records, offset " + std::to_string(offset) + ": ";
    EXPECT_TRUE(file.verdict.starts_with(end)) << file.name << ": " << end << file.verdict;
    logs++;
  }
  EXPECT_EQ(logs, 10);
}

/// Makes the frame right again, so that what is inside is looked at.
void seal(Buffer& bytes) {
  const auto put = [&](std::size_t at, std::uint32_t value) {
    value = little(value);
    std::memcpy(&bytes[at], &value, sizeof(value));
  };
  const auto length = static_cast<std::uint32_t>(bytes.size());
  put(offsetof(izo_kml_head, magic), IZO_KML_MAGIC);
  put(offsetof(izo_kml_head, len), length);
  put(length - 8, length);
  put(length - 4, IZO_KML_TAIL_MAGIC);
  const bool filler = load<izo_kml_head>(bytes).op == little(std::uint16_t{IZO_KML_FILLER});
  const Bytes covered = Bytes(bytes).first(filler ? IZO_KML_FILLER_HEAD : length);
  put(offsetof(izo_kml_head, crc), crc32c_without(covered, offsetof(izo_kml_head, crc)));
}

TEST(KernelJudge, JudgesChangedRecordsAlike) {
  SampleRecords samples(2);
  int records = 0;
  int bad = 0;
  for (int i = 0; i < 60000; i++) {
    // Short ones: then a change more often hits something that has a meaning.
    Record record = samples.make();
    record.groups.resize(std::min<std::size_t>(record.groups.size(), 3));
    record.xattrs.resize(std::min<std::size_t>(record.xattrs.size(), 1));
    for (Xattr& xattr : record.xattrs) {
      xattr.value.resize(std::min<std::size_t>(xattr.value.size(), 20));
    }
    if (record.target) {
      record.target->resize(std::min<std::size_t>(record.target->size(), 20));
    }
    Buffer bytes = encode(record);
    for (std::uint64_t changes = 1 + samples.below(3); changes != 0; changes--) {
      // Numbers are aligned, and small ones mean the most.
      const std::size_t at = 8 + 4 * samples.below((bytes.size() - 16) / 4);
      const std::uint32_t value = little(static_cast<std::uint32_t>(
          samples.below(2) == 0 ? samples.below(64) : 1U << samples.below(32)));
      std::memcpy(&bytes[at], &value, sizeof(value));
    }
    if (samples.below(4) == 0) {
      bytes.resize(112 + 8 * samples.below((bytes.size() - 104) / 8));
    }
    seal(bytes);
    const std::string mine = user_verdict(bytes);
    ASSERT_EQ(kernel_verdict(bytes), mine) << i << ": " << verdict_on_record(bytes);
    records += mine == "record" ? 1 : 0;
    bad += mine == "bad" ? 1 : 0;
  }
  // Neither must be the rule.
  EXPECT_GT(records, 2000);
  EXPECT_GT(bad, 20000);
}

}  // namespace
}  // namespace izo::kml
