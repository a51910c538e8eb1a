// SPDX-License-Identifier: GPL-2.0
#include "tools/fileset_status.h"

#include <gtest/gtest.h>
#include <linux/intermezzo_kml.h>

#include <nlohmann/json.hpp>

namespace izo::tools {
namespace {

FilesetStatus mounted() {
  const kernel::LogInfo log{.fileset = {0x11, 0x22},
                            .replica = {0x33},
                            .self = 1,
                            .epoch = 0x1122334455667788,
                            .first = 120,
                            .first_recno = 1,
                            .committed = 4096,
                            .end = 5000,
                            .end_recno = 17,
                            .capacity = 3 << 20,
                            .limit = 512ULL << 20,
                            .dirty = 2,
                            .journaled = true};
  return {.mount = {.dev_major = 254,
                    .root = "/",
                    .point = "/mnt/a b",
                    .type = "intermezzo",
                    .source = "/dev/vda",
                    .super_options = "rw,fileset=rootset,mtp=/,cache_type=ext4,"
                                     "prestodev=/dev/intermezzo3"},
          .log = log,
          .peers = {},
          .unknown = {},
          .no_filter = false,
          .no_journal = true};
}

TEST(FilesetStatus, OfAFilesetThatIsWell) {
  EXPECT_EQ(to_text(mounted()),
            "\"/mnt/a b\": fileset rootset on /dev/vda (intermezzo over ext4), read-write\n"
            "  mtp         /\n"
            "  channel     3, no_filter 0, no_journal 1\n"
            "  fileset     11220000-0000-0000-0000-000000000000\n"
            "  replica     1, 33000000-0000-0000-0000-000000000000\n"
            "  epoch       0x1122334455667788\n"
            "  records     1 to 17, offsets 120 to 5000, on the medium to 4096\n"
            "  size        3.0 MiB, at most 512.0 MiB\n"
            "  bodies      2 not closed or not on the medium yet\n"
            "  state       journaled\n");
  EXPECT_EQ(to_json(mounted()).dump(),
            R"({"mount_point":"/mnt/a b","fileset":"rootset","mtp":"/","device":"/dev/vda",)"
            R"("type":"intermezzo","cache_type":"ext4","read_only":false,"channel":3,)"
            R"("no_filter":false,"no_journal":true,"log":{)"
            R"("fileset_uuid":"11220000-0000-0000-0000-000000000000","replica":1,)"
            R"("replica_uuid":"33000000-0000-0000-0000-000000000000","epoch":"0x1122334455667788",)"
            R"("first":120,"first_recno":1,"committed":4096,"end":5000,"end_recno":17,)"
            R"("capacity":3145728,"limit":536870912,"dirty":2,"journaled":true,"overflow":false,)"
            R"("failed":false},"peers":[],"troubles":[]})");
  EXPECT_TRUE(troubles(mounted()).empty());
}

TEST(FilesetStatus, SaysHowFarPeersLogsAreApplied) {
  FilesetStatus status = mounted();
  status.peers = {
      {.replica = {0x44}, .epoch = 0x99, .recno = 7, .offset = 8, .outcome = 0, .flags = 0},
      {.replica = {0x55},
       .epoch = 0x1000000000000000,
       .recno = 300,
       .offset = 4096,
       .outcome = 0,
       .flags = IZO_RCVD_UPSTREAM | IZO_RCVD_PARTIAL}};
  EXPECT_NE(to_text(status).find(
                "  peer        44000000-0000-0000-0000-000000000000, its log 0x0000000000000099 is "
                "applied up to record 7\n"
                "  peer        55000000-0000-0000-0000-000000000000, its log 0x1000000000000000 "
                "is applied up to record 300, our server, whose tree is not all here yet\n"),
            std::string::npos)
      << to_text(status);
  EXPECT_EQ(
      to_json(status)["peers"].dump(),
      R"([{"replica_uuid":"44000000-0000-0000-0000-000000000000",)"
      R"("epoch":"0x0000000000000099","recno":7,"offset":8,"upstream":false,"partial":false},)"
      R"({"replica_uuid":"55000000-0000-0000-0000-000000000000",)"
      R"("epoch":"0x1000000000000000","recno":300,"offset":4096,"upstream":true,"partial":true}])");
}

TEST(FilesetStatus, OverflowAndFailureAreTroubles) {
  FilesetStatus status = mounted();
  status.log->journaled = false;
  status.log->overflow = status.log->failed = true;
  EXPECT_EQ(troubles(status).size(), 2U);
  const std::string text = to_text(status);
  EXPECT_NE(text.find("  state       not journaled, overflowed, failed\n"), std::string::npos);
  EXPECT_NE(
      text.find("  TROUBLE     the log overflowed: changes after its last record are not in it; "
                "nothing is shared until a client is made anew, or a server's log begins anew: "
                "see intersync(8)\n"),
      std::string::npos)
      << text;
  EXPECT_NE(text.find("  TROUBLE     the log met an error, "), std::string::npos);
  EXPECT_EQ(to_json(status)["troubles"].size(), 2U);
}

TEST(FilesetStatus, NoLogIsTroubleOfAReadWriteMountOnly) {
  FilesetStatus status = mounted();
  status.log.reset();
  EXPECT_EQ(troubles(status).size(), 1U);
  EXPECT_TRUE(to_json(status)["log"].is_null());
  status.mount.super_options = "ro,fileset=rootset";
  EXPECT_TRUE(troubles(status).empty());
  EXPECT_NE(to_text(status).find("not open until the first read-write mount"), std::string::npos);
  status.mount.super_options = "rw,fileset=rootset";
  status.unknown = "another mount hides it";
  EXPECT_TRUE(troubles(status).empty());
  EXPECT_NE(to_text(status).find("not known: another mount hides it"), std::string::npos);
  EXPECT_EQ(to_json(status)["unknown"], "another mount hides it");
}

TEST(FilesetStatus, AllIsOnTheMedium) {
  FilesetStatus status = mounted();
  for (const std::uint64_t committed : {status.log->end, status.log->end + 3000}) {
    status.log->committed = committed;
    EXPECT_NE(to_text(status).find("offsets 120 to 5000, all on the medium\n"), std::string::npos);
  }
}

TEST(FilesetStatus, EmptyLogAndUnnamedFileset) {
  FilesetStatus status = mounted();
  status.log->first_recno = 18;
  status.mount.super_options = "rw";
  const std::string text = to_text(status);
  EXPECT_NE(text.find("none since 18"), std::string::npos);
  EXPECT_NE(text.find(": fileset not named yet on "), std::string::npos);
  EXPECT_TRUE(to_json(status)["mtp"].is_null());
}

}  // namespace
}  // namespace izo::tools
