// SPDX-License-Identifier: GPL-2.0
#include "kernel/log_file.h"

#include <gtest/gtest.h>
#include <linux/intermezzo.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

namespace izo::kernel {
namespace {

using Buffer = std::vector<std::byte>;

Buffer encode(const LogInfo& info) {
  izo_kml_info raw{.size = sizeof(izo_kml_info),
                   .epoch = info.epoch,
                   .first = info.first,
                   .first_recno = info.first_recno,
                   .committed = info.committed,
                   .end = info.end,
                   .end_recno = info.end_recno,
                   .capacity = info.capacity,
                   .limit = info.limit,
                   .dirty = info.dirty,
                   .self = info.self};
  raw.flags = (info.journaled ? __u32{IZO_INFO_JOURNALED} : 0) |
              (info.failed ? __u32{IZO_INFO_FAILED} : 0) |
              (info.overflow ? __u32{IZO_KML_H_OVERFLOW} : 0);
  std::copy(info.fileset.begin(), info.fileset.end(), raw.fileset);
  std::copy(info.replica.begin(), info.replica.end(), raw.replica);
  Buffer out(sizeof(raw));
  std::memcpy(out.data(), &raw, sizeof(raw));
  return out;
}

LogInfo sample() {
  return {.fileset = {1, 2, 3},
          .replica = {4, 5, 6},
          .self = 2,
          .epoch = 99,
          .first = 4096,
          .first_recno = 12,
          .committed = 8192,
          .end = 9000,
          .end_recno = 40,
          .capacity = 1 << 20,
          .limit = 1 << 23,
          .dirty = 3,
          .journaled = true};
}

TEST(LogInfo, DecodesWhatTheKernelGives) {
  LogInfo empty = sample();
  empty.first = empty.committed = empty.end = 120;
  empty.first_recno = 1;
  empty.end_recno = 0;
  empty.overflow = empty.failed = true;
  for (const LogInfo& info : {sample(), empty}) {
    EXPECT_EQ(decode_log_info(encode(info)), DecodedLogInfo(info));
  }
}

TEST(LogInfo, NoPartOfItIsOne) {
  const Buffer whole = encode(sample());
  for (std::size_t size = 0; size < whole.size(); size++) {
    const Buffer part(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_TRUE(std::holds_alternative<kml::Corrupt>(decode_log_info(part))) << size;
  }
}

TEST(LogInfo, NoChangedByteIsOverlooked) {
  const Buffer whole = encode(sample());
  for (std::size_t at = 0; at < whole.size(); at++) {
    for (const unsigned flip : {1U, 2U, 4U, 8U, 16U, 32U, 64U, 128U, 255U}) {
      Buffer changed = whole;
      changed[at] ^= static_cast<std::byte>(flip);
      const DecodedLogInfo decoded = decode_log_info(changed);
      if (const auto* other = std::get_if<LogInfo>(&decoded)) {
        ASSERT_NE(*other, sample()) << at << " ^ " << flip;
        ASSERT_EQ(encode(*other), changed) << at << " ^ " << flip;
      }
    }
  }
}

}  // namespace
}  // namespace izo::kernel
