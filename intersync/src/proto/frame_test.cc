// SPDX-License-Identifier: GPL-2.0
#include "proto/frame.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "kml/codec.h"
#include "kml/wire.h"

namespace izo::proto {
namespace {

using Buffer = std::vector<std::byte>;
constexpr std::uint64_t kAll = std::uint64_t{1} << 40;

Buffer random_bytes(std::size_t length, unsigned seed = 1) {
  std::mt19937 random(seed);
  Buffer bytes(length);
  for (std::byte& byte : bytes) {
    byte = static_cast<std::byte>(random());
  }
  return bytes;
}

/// Bytes that can be compressed.
Buffer text_bytes(std::size_t length) {
  Buffer bytes(length);
  for (std::size_t i = 0; i < length; i++) {
    bytes[i] = static_cast<std::byte>("InterMezzo"[i % 10] + static_cast<int>(i / 1000 % 3));
  }
  return bytes;
}

Buffer frame_of(const Buffer& payload, int level = 1, std::uint8_t type = 7) {
  Buffer out;
  FrameWriter(level).add(out, type, payload);
  return out;
}

FrameReader::Next read_one(Bytes bytes, std::uint64_t most = kAll) {
  FrameReader reader(most);
  reader.feed(bytes);
  return reader.next();
}

std::string complaint(const FrameReader::Next& next) {
  const auto* corrupt = std::get_if<Corrupt>(&next);
  return corrupt != nullptr ? corrupt->what : "";
}

/// Makes the checksum right again.
void seal(Buffer& frame) {
  const std::uint32_t crc = kml::little(kml::crc32c_without(frame, 16));
  std::memcpy(&frame[16], &crc, sizeof(crc));
}

void put32(Buffer& frame, std::size_t at, std::uint32_t value) {
  value = kml::little(value);
  std::memcpy(&frame[at], &value, sizeof(value));
}

TEST(Frame, ThereAndBack) {
  for (const std::size_t length :
       {std::size_t{0}, std::size_t{1}, std::size_t{511}, std::size_t{512}, std::size_t{4096},
        std::size_t{100000}, kMaxPayload}) {
    for (const int level : {0, 1, 3}) {
      for (const Buffer& payload : {random_bytes(length), text_bytes(length)}) {
        const Buffer bytes = frame_of(payload, level);
        EXPECT_LE(bytes.size(), kFrameHead + length);
        const FrameReader::Next next = read_one(bytes);
        ASSERT_TRUE(std::holds_alternative<Frame>(next)) << complaint(next);
        EXPECT_TRUE(std::get<Frame>(next) == (Frame{7, payload}));
      }
    }
  }
  EXPECT_LT(frame_of(text_bytes(4096)).size(), 400U);
  const Buffer longest = text_bytes(kMaxPayload);
  EXPECT_TRUE(std::get<Frame>(read_one(frame_of(longest))) == (Frame{7, longest}));
  EXPECT_THROW(frame_of(Buffer(kMaxPayload + 1)), std::length_error);
}

TEST(Frame, TheBytesAreThoseOfTheDocument) {
  // docs/http-protocol.md has this frame.
  const unsigned char expected[] = {0x49, 0x5a, 0x4f, 0x46, 0x02, 0x00, 0x00, 0x00, 0x05, 0x00,
                                    0x00, 0x00, 0x05, 0x00, 0x00, 0x00, 0xa4, 0xf3, 0xfd, 0xf7,
                                    0x00, 0x00, 0x00, 0x00, 'h',  'e',  'l',  'l',  'o'};
  const Bytes bytes = std::as_bytes(std::span(expected));
  const Buffer payload(bytes.begin() + kFrameHead, bytes.end());
  EXPECT_EQ(frame_of(payload, 1, 2), Buffer(bytes.begin(), bytes.end()));
}

TEST(Frame, PiecesOfAnySizeMakeTheSame) {
  Buffer stream;
  FrameWriter writer(1);
  std::vector<Frame> frames;
  for (std::uint8_t i = 0; i < 50; i++) {
    const std::size_t length = std::size_t{137} * i;
    frames.push_back({i, i % 2 == 0 ? text_bytes(length) : random_bytes(length, i)});
    writer.add(stream, i, frames.back().payload);
  }
  for (const std::size_t piece :
       {std::size_t{1}, std::size_t{7}, std::size_t{4096}, stream.size()}) {
    FrameReader reader(kAll);
    std::vector<Frame> seen;
    for (std::size_t at = 0; at < stream.size(); at += piece) {
      reader.feed(Bytes(stream).subspan(at, std::min(piece, stream.size() - at)));
      for (;;) {
        FrameReader::Next next = reader.next();
        ASSERT_EQ(complaint(next), "");
        if (const auto* more = std::get_if<NeedMore>(&next)) {
          ASSERT_GT(more->at_least, reader.waiting());
          break;
        }
        seen.push_back(std::get<Frame>(std::move(next)));
      }
    }
    EXPECT_TRUE(seen == frames) << piece;
    EXPECT_EQ(reader.waiting(), 0U);
  }
}

TEST(Frame, EveryTruncationAsksForMore) {
  for (const Buffer& payload : {text_bytes(2000), random_bytes(100)}) {
    const Buffer bytes = frame_of(payload);
    for (std::size_t count = 0; count < bytes.size(); count++) {
      const FrameReader::Next next = read_one(Bytes(bytes).first(count));
      ASSERT_TRUE(std::holds_alternative<NeedMore>(next)) << count << complaint(next);
      EXPECT_EQ(std::get<NeedMore>(next).at_least, count < kFrameHead ? kFrameHead : bytes.size());
    }
  }
}

TEST(Frame, EveryChangedByteIsSeen) {
  for (const Buffer& payload : {text_bytes(600), random_bytes(60)}) {
    Buffer bytes = frame_of(payload);
    for (std::byte& byte : bytes) {
      for (int change = 1; change < 256; change++) {
        byte ^= static_cast<std::byte>(change);
        EXPECT_FALSE(std::holds_alternative<Frame>(read_one(bytes)));
        byte ^= static_cast<std::byte>(change);
      }
    }
  }
}

TEST(Frame, EveryChangedByteOfCompressedDataIsBounded) {
  // With a right checksum: what zstd makes of it has the length that was said, or it is corrupt.
  const Buffer good = frame_of(text_bytes(2000));
  for (std::size_t at = kFrameHead; at < good.size(); at++) {
    for (int change = 1; change < 256; change++) {
      Buffer bytes = good;
      bytes[at] ^= static_cast<std::byte>(change);
      seal(bytes);
      const FrameReader::Next next = read_one(bytes);
      if (const auto* frame = std::get_if<Frame>(&next)) {
        EXPECT_EQ(frame->payload.size(), 2000U);
      } else {
        EXPECT_NE(complaint(next), "");
      }
    }
  }
}

TEST(Frame, HeadsThatDoNotFitAreRefusedBeforeTheirPayload) {
  const Buffer good = frame_of(text_bytes(2000));
  const auto said = [&](std::size_t at, std::uint32_t value) {
    Buffer bytes(good.begin(), good.begin() + kFrameHead);
    put32(bytes, at, value);
    return complaint(read_one(bytes));
  };
  EXPECT_EQ(said(0, 0x464f5a48), "offset 0: no frame begins here");
  EXPECT_EQ(said(4, 0x00000207), "offset 0: the frame has an unknown encoding");
  EXPECT_EQ(said(4, 0x00010107), "offset 0: a reserved field of the frame is not zero");
  EXPECT_EQ(said(20, 1), "offset 0: a reserved field of the frame is not zero");
  EXPECT_EQ(said(8, kMaxPayload + 1), "offset 0: the frame is too long");
  EXPECT_EQ(said(8, 0xffffffff), "offset 0: the frame is too long");
  EXPECT_EQ(said(12, kMaxPayload + 1), "offset 0: the frame is too long");
  EXPECT_EQ(said(8, 2000), "offset 0: the frame's lengths do not fit each other");
}

TEST(Frame, ABombIsRefused) {
  // A frame that says less than it holds, one that says more, and one with two zstd frames.
  Buffer bytes = frame_of(text_bytes(100000));
  put32(bytes, 12, 99999);
  seal(bytes);
  EXPECT_NE(complaint(read_one(bytes)), "");
  put32(bytes, 12, 100001);
  seal(bytes);
  EXPECT_NE(complaint(read_one(bytes)), "");
  bytes = frame_of(text_bytes(100000));
  const Buffer once(bytes.begin() + kFrameHead, bytes.end());
  bytes.insert(bytes.end(), once.begin(), once.end());
  put32(bytes, 8, static_cast<std::uint32_t>(2 * once.size()));
  put32(bytes, 12, 200000);
  seal(bytes);
  EXPECT_NE(complaint(read_one(bytes)), "");

  // Together they may not be more than was asked for.
  const Buffer one = frame_of(Buffer(1 << 20));
  FrameReader reader(std::uint64_t{5} << 20);
  for (int i = 0; i < 5; i++) {
    reader.feed(one);
    EXPECT_TRUE(std::holds_alternative<Frame>(reader.next()));
  }
  reader.feed(one);
  const FrameReader::Next next = reader.next();
  EXPECT_NE(complaint(next).find("more comes than was asked for"), std::string::npos);
  reader.feed(one);
  EXPECT_EQ(reader.next(), next);
}

}  // namespace
}  // namespace izo::proto
