// SPDX-License-Identifier: GPL-2.0
#include "proto/upload.h"

#include <gtest/gtest.h>

#include <stdexcept>
#include <string>

namespace izo::proto {
namespace {

using Buffer = std::vector<std::byte>;

Upload sample(std::size_t length, bool compressible = false) {
  Upload upload{.client = {1, 2, 3, 16},
                .number = 0x1122334455667788,
                .version = ~std::uint64_t{0},
                .size = (std::uint64_t{1} << 62) + length,
                .offset = std::uint64_t{1} << 40,
                .hole = (std::uint64_t{1} << 62) - (std::uint64_t{1} << 40),
                .piece = Buffer(length)};
  for (std::size_t i = 0; i < length; i++) {
    upload.piece[i] = static_cast<std::byte>(compressible ? 7 : i * i * 31 + i / 251);
  }
  return upload;
}

template <typename Decoded>
std::string fault_of(const Decoded& decoded) {
  const auto* corrupt = std::get_if<Corrupt>(&decoded);
  return corrupt != nullptr ? corrupt->what : "";
}

Buffer frame_of(std::uint8_t type, const Buffer& payload) {
  Buffer out;
  FrameWriter(0).add(out, type, payload);
  return out;
}

TEST(Upload, ComesAsItWasSent) {
  for (const std::size_t length :
       {std::size_t{0}, std::size_t{1}, std::size_t{5000}, std::size_t{3} << 20, kMostOfUpload}) {
    for (const int level : {0, 1}) {
      const Upload upload = sample(length, level != 0);
      const Buffer bytes = encode(upload, level);
      EXPECT_EQ(std::get<Upload>(decode_upload(bytes)), upload) << length;
      EXPECT_EQ(bytes.size() < length / 2, level != 0 && length >= 5000) << length;
    }
  }
  EXPECT_THROW(encode(sample(kMostOfUpload + 1), 0), std::length_error);
}

TEST(Upload, ADamagedOrCutOneIsNone) {
  const Buffer good = encode(sample(300), 0);
  for (std::size_t at = 0; at < good.size(); at++) {
    Buffer bad = good;
    bad[at] ^= std::byte{4};
    EXPECT_NE(fault_of(decode_upload(bad)), "") << at;
    EXPECT_NE(fault_of(decode_upload(Bytes(good).first(at))), "") << at;
  }
  Buffer longer = good;
  longer.push_back(std::byte{0});
  EXPECT_EQ(fault_of(decode_upload(longer)), "more comes behind its end");
  longer.insert(longer.end(), good.begin(), good.end());
  EXPECT_EQ(fault_of(decode_upload(longer)), "more comes behind its end");
}

TEST(Upload, AnotherFrameIsNone) {
  EXPECT_EQ(fault_of(decode_upload(frame_of(5, Buffer(100)))),
            "a frame of type 5 where none may be");
  EXPECT_EQ(fault_of(decode_upload(frame_of(kUploadFrame, Buffer(55)))),
            "the frame does not say what the piece is of");
  Buffer payload(56);
  EXPECT_NE(fault_of(decode_upload(frame_of(kUploadFrame, payload))), "");
  payload[0] = std::byte{1};
  EXPECT_EQ(std::get<Upload>(decode_upload(frame_of(kUploadFrame, payload))),
            Upload{.client = {1}});
}

TEST(Upload, APieceBeyondItsBodyIsNone) {
  const Upload good{.client = {1},
                    .number = 2,
                    .version = 3,
                    .size = 100,
                    .offset = 30,
                    .hole = 60,
                    .piece = Buffer(10)};
  EXPECT_EQ(std::get<Upload>(decode_upload(encode(good, 0))), good);
  for (const auto& [field, value] :
       {std::pair(&Upload::size, std::uint64_t{99}), std::pair(&Upload::offset, std::uint64_t{31}),
        std::pair(&Upload::offset, std::uint64_t{101}), std::pair(&Upload::hole, std::uint64_t{61}),
        std::pair(&Upload::hole, std::uint64_t{71}), std::pair(&Upload::offset, ~std::uint64_t{0}),
        std::pair(&Upload::hole, ~std::uint64_t{0}),
        std::pair(&Upload::hole, ~std::uint64_t{0} - 29),
        std::pair(&Upload::size, std::uint64_t{1} << 63)}) {
    Upload bad = good;
    bad.*field = value;
    EXPECT_EQ(fault_of(decode_upload(encode(bad, 0))), "the piece is not within its body") << value;
  }
}

TEST(Uploaded, ComesAsItWasSentAndNothingElseDoes) {
  const Buffer good = encode(Uploaded{~std::uint64_t{0} - 5});
  EXPECT_EQ(std::get<Uploaded>(decode_uploaded(good)).here, ~std::uint64_t{0} - 5);
  for (std::size_t at = 0; at < good.size(); at++) {
    Buffer bad = good;
    bad[at] ^= std::byte{4};
    EXPECT_NE(fault_of(decode_uploaded(bad)), "") << at;
    EXPECT_NE(fault_of(decode_uploaded(Bytes(good).first(at))), "") << at;
  }
  for (const std::size_t length : {7U, 9U}) {
    EXPECT_EQ(fault_of(decode_uploaded(frame_of(kUploadedFrame, Buffer(length)))),
              "the frame is no number of bytes");
  }
  EXPECT_EQ(fault_of(decode_uploaded(frame_of(kUploadFrame, Buffer(8)))),
            "a frame of type 7 where none may be");
}

}  // namespace
}  // namespace izo::proto
