// SPDX-License-Identifier: GPL-2.0
// libFuzzer: any bytes as what the frames of a message have in them; the first byte says which part
// of which message. What is taken must be written as it came. message_fuzz -max_total_time=20
// CORPUS
#include <cstdio>
#include <cstdlib>
#include <span>

#include "proto/messages.h"

namespace {

using namespace izo::proto;  // NOLINT(google-build-using-namespace): a program of one file

constexpr std::uint8_t kKinds = 6;

void require(bool condition, const char* what) {
  if (!condition) {
    std::fprintf(stderr, "message_fuzz: %s\n", what);
    std::abort();
  }
}

/// The payload of the first frame of that type.
std::vector<std::byte> payload_of(Bytes message, Part part) {
  FrameReader reader(std::uint64_t{1} << 30);
  reader.feed(message);
  for (;;) {
    FrameReader::Next next = reader.next();
    auto* frame = std::get_if<Frame>(&next);
    require(frame != nullptr, "what was written is no frame");
    if (frame->type == static_cast<std::uint8_t>(part)) {
      return std::move(frame->payload);
    }
  }
}

/// `decode` is asked for what `write` makes of its answer; fields that mean nothing may be lost,
/// but only once.
void check(Bytes payload, Part part, const auto& decode, const auto& write) {
  const auto decoded = decode(payload);
  if (std::holds_alternative<Corrupt>(decoded)) {
    require(!std::get<Corrupt>(decoded).what.empty(), "refused without a reason");
    return;
  }
  const auto again = [&](const auto& what) {
    std::vector<std::byte> out;
    MessageWriter writer(0);
    write(writer, out, std::get<0>(what));
    return payload_of(out, part);
  };
  const std::vector<std::byte> written = again(decoded);
  require(written.size() == payload.size(), "it changed its length by being written");
  const auto decoded_again = decode(written);
  require(decoded_again.index() == 0 && again(decoded_again) == written, "it changed once more");
}

constexpr auto kWhole = [](MessageWriter& writer, std::vector<std::byte>& out, const auto& what) {
  writer.add(out, what);
};

void check_names(Bytes payload) {
  const auto write = [](MessageWriter& writer, std::vector<std::byte>& out, const auto& names) {
    writer.add(out,
               izo::repl::Response(izo::repl::Listed{.at = {}, .table = {}, .entries = names}));
  };
  if (!payload.empty() && payload.size() < (std::size_t{1} << 20)) {
    check(payload, Part::kNames, decode_names, write);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) {
    return 0;
  }
  const Bytes payload = std::as_bytes(std::span(data, size)).subspan(1);
  const auto kind = static_cast<Kind>(data[0] % kKinds);
  switch (data[0] / kKinds % 6) {
    case 0:
      check(payload, Part::kHead, [&](Bytes bytes) { return decode_request(kind, bytes); }, kWhole);
      break;
    case 1:
      check(
          payload, Part::kHead, [&](Bytes bytes) { return decode_response(kind, bytes); }, kWhole);
      break;
    case 2:
      check(payload, Part::kBody, decode_body_head, kWhole);
      break;
    case 3:
      check(payload, Part::kBodyEnd, decode_body_end, kWhole);
      break;
    case 4:
      check(payload, Part::kHole, decode_hole, kWhole);
      break;
    default:
      check_names(payload);
  }
  return 0;
}
