// SPDX-License-Identifier: GPL-2.0
// What is read of a body that has holes, and how such a body goes over the wire.
#include "daemon/body_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <map>

#include "daemon/body_sender.h"
#include "daemon/message_reader.h"
#include "daemon/test_store.h"

namespace izo::daemon {
namespace {

using Stretch = BodyFile::Stretch;

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
constexpr std::uint64_t kTiB = std::uint64_t{1} << 40;

void all_can_be_read(std::size_t index, const SysError& error) {
  ADD_FAILURE() << index << ": " << error.what();
}

class BodyFileTest : public testing::Test {
 protected:
  /// With so many bytes of data at these offsets.
  std::shared_ptr<BodyFile> sparse(std::uint64_t size,
                                   const std::map<std::uint64_t, std::size_t>& data) {
    StagedBody out = stage_in(folder_);
    for (const auto& [offset, length] : data) {
      out.skip(offset - out.size());
      out.write(sample_body(length));
    }
    out.skip(size - out.size());
    return out.finish();
  }
  /// All that is to be read of it.
  static std::vector<Stretch> stretches(const BodyFile& body, std::uint64_t most) {
    std::vector<Stretch> out;
    for (std::uint64_t at = 0; at < body.size(); at = out.back().end) {
      out.push_back(body.stretch(at, most));
    }
    return out;
  }

  TemporaryFolder folder_;
};

TEST_F(BodyFileTest, LongHolesAreNotRead) {
  const auto body =
      sparse(3 * kTiB, {{0, 5000}, {kTiB, 3 * kMiB}, {2 * kTiB, 4096}, {3 * kTiB - 4096, 4096}});
  EXPECT_EQ(stretches(*body, kMiB), (std::vector<Stretch>{{0, 8192},
                                                          {kTiB, kTiB + kMiB},
                                                          {kTiB + kMiB, kTiB + 2 * kMiB},
                                                          {kTiB + 2 * kMiB, kTiB + 3 * kMiB},
                                                          {2 * kTiB, 2 * kTiB + 4096},
                                                          {3 * kTiB - 4096, 3 * kTiB}}));
  // From anywhere in it.
  EXPECT_EQ(body->stretch(kTiB + 7, 100), (Stretch{kTiB + 7, kTiB + 107}));
  EXPECT_EQ(body->stretch(2 * kTiB - 7, kMiB), (Stretch{2 * kTiB - 7, 2 * kTiB + 4096}));
  EXPECT_EQ(body->stretch(9000, kMiB), (Stretch{kTiB, kTiB + kMiB}));
}

TEST_F(BodyFileTest, OneThatHasNothingButAHole) {
  const auto body = sparse(15 * kTiB, {});
  EXPECT_EQ(stretches(*body, kMiB), (std::vector<Stretch>{{15 * kTiB, 15 * kTiB}}));
  EXPECT_TRUE(stretches(*sparse(0, {}), kMiB).empty());
}

/// As many pieces would come otherwise as it has blocks.
TEST_F(BodyFileTest, ShortHolesAreReadAsZeros) {
  std::map<std::uint64_t, std::size_t> data;
  for (std::uint64_t at = 0; at < kMiB; at += 16384) {
    data[at] = 4096;
  }
  const auto body = sparse(kMiB, data);
  EXPECT_EQ(stretches(*body, kMiB), (std::vector<Stretch>{{0, kMiB}}));
  EXPECT_EQ(stretches(*body, 65536).size(), 16U);
}

/// The rest of it nobody needs; and whoever asks again hears that it has gone.
TEST_F(BodyFileTest, ABodyWhoseFileHasGoneIsNotSentOn) {
  const std::string path = folder_.file("f");
  UniqueFd file(checked(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600), "open", path));
  checked(::ftruncate(file.get(), 8 * kMiB), "ftruncate", path);
  const std::vector<std::byte> data = sample_body(8 * kMiB);
  checked(::pwrite(file.get(), data.data(), data.size(), 0), "pwrite", path);
  const auto body = BodyFile::live(std::move(file), data.size(), 0);
  BodySender sender({{.body = body}, {.body = nullptr}}, 0, all_can_be_read);
  std::vector<std::byte> bytes;
  const auto send = [&] {
    const auto more = sender.next();
    bytes.insert(bytes.end(), more.value().begin(), more.value().end());
    return more->size();
  };
  for (unsigned pieces = 1; pieces <= 4; pieces++) {
    EXPECT_GE(send(), proto::kBodyPiece);
    EXPECT_GE(bytes.size(), pieces * proto::kBodyPiece);
  }
  checked(::unlink(path.c_str()), "unlink", path);
  while (const auto more = sender.next()) {
    bytes.insert(bytes.end(), more->begin(), more->end());
  }
  EXPECT_LT(bytes.size(), 6 * proto::kBodyPiece);
  std::vector<std::byte> message;
  proto::MessageWriter(0).add(message, repl::Response(repl::Fetched{.bodies = {{}, {}}}));
  message.insert(message.end(), bytes.begin(), bytes.end());
  MessageReader reader(MessageReader::Side::kResponse, proto::Kind::kFetch,
                       {.stage = [this] { return stage_in(folder_); }, .uploaded = {}});
  ASSERT_TRUE(reader.feed(message)) << reader.why();
  const auto came = reader.finish();
  ASSERT_TRUE(came) << reader.why();
  const auto& bodies = std::get<repl::Fetched>(std::get<repl::Response>(*came)).bodies;
  EXPECT_FALSE(bodies[0]);
  EXPECT_TRUE(bodies[1]);
}

TEST_F(BodyFileTest, HolesGoOverTheWireAsTheirLengths) {
  const std::map<std::uint64_t, std::size_t> data{
      {0, 3}, {7 * kTiB, 600'000}, {7 * kTiB + kMiB, 5000}, {15 * kTiB - 3, 3}};
  const auto sent = sparse(15 * kTiB, data);
  const auto hole = sparse(kTiB, {});
  std::vector<std::byte> bytes;
  proto::MessageWriter(0).add(bytes, repl::Response(repl::Fetched{.bodies = {{}, {}, {}}}));
  // Of the last one a part is there, up to the middle of a hole.
  BodySender sender({{.body = sent}, {.body = hole}, {.body = sent, .number = 7, .offset = kTiB}},
                    0, all_can_be_read);
  while (const auto more = sender.next()) {
    bytes.insert(bytes.end(), more->begin(), more->end());
  }
  EXPECT_LT(bytes.size(), 2 * kMiB);
  MessageReader reader(MessageReader::Side::kResponse, proto::Kind::kFetch,
                       {.stage = [this] { return stage_in(folder_); },
                        .uploaded = {},
                        .begun =
                            [this](std::uint32_t /*index*/, std::uint64_t /*number*/) {
                              StagedBody begun = stage_in(folder_);
                              begun.write(sample_body(3));
                              begun.skip(kTiB - 3);
                              return std::optional(std::move(begun));
                            }});
  ASSERT_TRUE(reader.feed(bytes)) << reader.why();
  const auto message = reader.finish();
  ASSERT_TRUE(message) << reader.why();
  const auto& came = std::get<repl::Fetched>(std::get<repl::Response>(*message)).bodies;
  for (const std::size_t index : {0U, 2U}) {
    const auto& body = dynamic_cast<const BodyFile&>(**came[index]);
    EXPECT_EQ(stretches(body, 4096), stretches(*sent, 4096));
    for (const auto& [offset, length] : data) {
      std::vector<std::byte> there(length);
      body.read(offset, there);
      EXPECT_EQ(there, sample_body(length)) << offset;
    }
  }
  EXPECT_EQ(stretches(dynamic_cast<const BodyFile&>(**came[1]), 4096), stretches(*hole, 4096));
}

}  // namespace
}  // namespace izo::daemon
