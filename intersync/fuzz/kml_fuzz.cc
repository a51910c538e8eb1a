// SPDX-License-Identifier: GPL-2.0
// libFuzzer: any bytes to both codecs of the log's records. kml_fuzz -max_total_time=20 CORPUS
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "kml/kernel_judge.h"
#include "kml/stream_reader.h"
#include "kml/wire.h"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t most);

namespace {

using namespace izo::kml;  // NOLINT(google-build-using-namespace): a program of one file

void require(bool condition, const char* what) {
  if (!condition) {
    std::fprintf(stderr, "kml_fuzz: %s\n", what);
    std::abort();
  }
}

/// What the first record says, with what makes its frame right.
void seal(std::uint8_t* data, std::size_t size) {
  const auto put = [&](std::size_t at, std::uint32_t value) {
    value = little(value);
    std::memcpy(data + at, &value, sizeof(value));
  };
  put(offsetof(izo_kml_head, magic), IZO_KML_MAGIC);
  put(offsetof(izo_kml_head, len), static_cast<std::uint32_t>(size));
  put(size - 8, static_cast<std::uint32_t>(size));
  put(size - 4, IZO_KML_TAIL_MAGIC);
  const Bytes bytes = std::as_bytes(std::span(data, size));
  const bool filler = load<izo_kml_head>(bytes).op == little(std::uint16_t{IZO_KML_FILLER});
  put(offsetof(izo_kml_head, crc), crc32c_without(filler ? bytes.first(IZO_KML_FILLER_HEAD) : bytes,
                                                  offsetof(izo_kml_head, crc)));
}

/// The records of a stream fed in pieces of `piece` bytes, and what ended it.
std::pair<std::vector<Record>, std::string> read_all(Bytes bytes, std::size_t piece) {
  StreamReader reader;
  std::vector<Record> records;
  while (!bytes.empty()) {
    reader.feed(bytes.first(std::min(piece, bytes.size())));
    bytes = bytes.subspan(std::min(piece, bytes.size()));
    for (;;) {
      StreamReader::Next next = reader.next();
      if (auto* corrupt = std::get_if<Corrupt>(&next)) {
        return {records, corrupt->what};
      }
      if (std::holds_alternative<NeedMore>(next)) {
        break;
      }
      records.push_back(std::get<Record>(std::move(next)));
    }
  }
  return {records, "end"};
}

}  // namespace

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t most, unsigned seed) {
  size = LLVMFuzzerMutate(data, size, most);
  // Most of the time with a right frame, or nothing behind the checksum would ever be seen.
  const std::size_t whole = size & ~std::size_t{7};
  if (seed % 8 != 0 && whole >= IZO_KML_RECORD_MIN) {
    seal(data, whole);
    return whole;
  }
  return size;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes bytes = std::as_bytes(std::span(data, size));
  const Decoded decoded = decode(bytes);
  require(kernel_verdict(bytes) == user_verdict(bytes), "the kernel's codec says otherwise");
  if (const auto* record = std::get_if<Record>(&decoded)) {
    require(decode(encode(*record)) == decoded, "a record changed by being encoded");
  }
  if (const auto* more = std::get_if<NeedMore>(&decoded)) {
    require(more->at_least > size && more->at_least <= IZO_KML_RECORD_MAX,
            "asks for a wrong number of bytes");
  }
  require(read_all(bytes, size) == read_all(bytes, 37), "pieces make a difference");
  return 0;
}
