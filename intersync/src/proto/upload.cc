// SPDX-License-Identifier: GPL-2.0
#include "proto/upload.h"

#include <string>
#include <utility>

#include "proto/fields.h"
#include "proto/messages.h"

namespace izo::proto {
namespace {

/// The payload of the one frame that there is, if it is of that type.
std::variant<std::vector<std::byte>, Corrupt> payload_of(Bytes bytes, std::uint8_t type) {
  FrameReader reader(kMaxPayload);
  reader.feed(bytes);
  FrameReader::Next next = reader.next();
  if (auto* corrupt = std::get_if<Corrupt>(&next)) {
    return std::move(*corrupt);
  }
  auto* frame = std::get_if<Frame>(&next);
  if (frame == nullptr) {
    return Corrupt{"it is cut off"};
  }
  if (frame->type != type) {
    return Corrupt{"a frame of type " + std::to_string(frame->type) + " where none may be"};
  }
  if (reader.waiting() != 0) {
    return Corrupt{"more comes behind its end"};
  }
  return std::move(frame->payload);
}

}  // namespace

std::vector<std::byte> encode(const Upload& upload, int zstd_level) {
  FieldWriter fields;
  fields.uuid(upload.client);
  fields.number(upload.number);
  fields.number(upload.version);
  fields.number(upload.size);
  fields.number(upload.offset);
  fields.number(upload.hole);
  fields.bytes_to_the_end(upload.piece);
  std::vector<std::byte> out;
  FrameWriter(zstd_level).add(out, kUploadFrame, fields.bytes());
  return out;
}

std::vector<std::byte> encode(const Uploaded& uploaded) {
  FieldWriter fields;
  fields.number(uploaded.here);
  std::vector<std::byte> out;
  FrameWriter(0).add(out, kUploadedFrame, fields.bytes());
  return out;
}

std::variant<Upload, Corrupt> decode_upload(Bytes bytes) {
  auto payload = payload_of(bytes, kUploadFrame);
  if (auto* corrupt = std::get_if<Corrupt>(&payload)) {
    return std::move(*corrupt);
  }
  FieldReader in(std::get<std::vector<std::byte>>(payload));
  Upload upload;
  upload.client = in.uuid();
  upload.number = in.number<std::uint64_t>();
  upload.version = in.number<std::uint64_t>();
  upload.size = in.number<std::uint64_t>();
  upload.offset = in.number<std::uint64_t>();
  upload.hole = in.number<std::uint64_t>();
  if (in.is_short()) {
    return Corrupt{"the frame does not say what the piece is of"};
  }
  const Bytes piece = in.bytes_to_the_end();
  if (upload.size > kLongestBody || upload.offset > upload.size ||
      upload.hole > upload.size - upload.offset ||
      piece.size() > upload.size - upload.offset - upload.hole) {
    return Corrupt{"the piece is not within its body"};
  }
  upload.piece.assign(piece.begin(), piece.end());
  return upload;
}

std::variant<Uploaded, Corrupt> decode_uploaded(Bytes bytes) {
  auto payload = payload_of(bytes, kUploadedFrame);
  if (auto* corrupt = std::get_if<Corrupt>(&payload)) {
    return std::move(*corrupt);
  }
  FieldReader in(std::get<std::vector<std::byte>>(payload));
  const Uploaded uploaded{.here = in.number<std::uint64_t>()};
  if (!in.ended()) {
    return Corrupt{"the frame is no number of bytes"};
  }
  return uploaded;
}

}  // namespace izo::proto
