// SPDX-License-Identifier: GPL-2.0
#include "kml/stream_reader.h"

#include <utility>

namespace izo::kml {

void StreamReader::feed(Bytes bytes) {
  // What was used goes once it is the larger part, so that each byte is moved at most once.
  if (used_ > buffer_.size() / 2) {
    buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(used_));
    used_ = 0;
  }
  buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
}

StreamReader::Next StreamReader::stop(const Corrupt& corrupt) {
  corrupt_ = Corrupt{"offset " + std::to_string(position_.offset) + ": " + corrupt.what};
  return *corrupt_;
}

std::optional<StreamReader::Next> StreamReader::read_header() {
  DecodedHeader decoded = decode_header(Bytes(buffer_).subspan(used_));
  if (auto* more = std::get_if<NeedMore>(&decoded)) {
    return *more;
  }
  if (auto* corrupt = std::get_if<Corrupt>(&decoded)) {
    return stop(*corrupt);
  }
  header_ = std::get<Header>(std::move(decoded));
  used_ += sizeof(izo_kml_header);
  header_due_ = false;
  position_ = {header_->epoch, header_->first, header_->first_recno};
  return std::nullopt;
}

StreamReader::Next StreamReader::next() {
  if (corrupt_) {
    return *corrupt_;
  }
  if (header_due_) {
    if (std::optional<Next> other = read_header()) {
      return *std::move(other);
    }
  }
  for (;;) {
    Decoded decoded = decode(Bytes(buffer_).subspan(used_));
    if (auto* more = std::get_if<NeedMore>(&decoded)) {
      return *more;
    }
    if (auto* corrupt = std::get_if<Corrupt>(&decoded)) {
      return stop(*corrupt);
    }
    const auto [offset, epoch, length] = std::visit(
        [](const auto& it) -> std::tuple<std::uint64_t, std::uint64_t, std::uint32_t> {
          if constexpr (requires { it.offset; }) {
            return {it.offset, it.epoch, it.length};
          } else {
            return {};
          }
        },
        decoded);
    if (offset != position_.offset) {
      return stop({"what stands here says that its offset is " + std::to_string(offset)});
    }
    if (epoch != position_.epoch) {
      return stop({"it belongs to another epoch of the log"});
    }
    auto* record = std::get_if<Record>(&decoded);
    if (record != nullptr && position_.recno != 0 && record->recno != position_.recno) {
      return stop({"record " + std::to_string(record->recno) + " where number " +
                   std::to_string(position_.recno) + " is due"});
    }
    used_ += length;
    position_.offset += length;
    if (record != nullptr) {
      position_.recno = record->recno + 1;
      return std::move(*record);
    }
  }
}

}  // namespace izo::kml
