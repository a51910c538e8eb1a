// SPDX-License-Identifier: GPL-2.0
#include "kml/kernel_judge.h"

#include "kml/wire.h"

extern "C" {
#include <kml_record.h>
}

namespace izo::kml {

std::string kernel_verdict(Bytes bytes) {
  std::size_t length = 0;
  switch (izo_record_judge(bytes.data(), bytes.size(), &length)) {
    case IZO_JUDGED_RECORD:
      return "record";
    case IZO_JUDGED_FILLER:
      return "filler";
    case IZO_JUDGED_MORE:
      return "more";
    case IZO_JUDGED_BAD:
      return "bad";
  }
  return "";
}

std::string user_verdict(Bytes bytes) {
  constexpr const char* kWords[] = {"record", "filler", "more", "bad"};
  static_assert(std::is_same_v<std::variant_alternative_t<3, Decoded>, Corrupt>);
  return kWords[decode(bytes).index()];
}

std::vector<std::byte> kernel_encode(Bytes record) {
  const auto head = load<izo_kml_head>(record);
  std::vector<std::byte> buffer(record.size() + IZO_RECORD_SPARE);
  izo_record r;
  izo_record_start(&r, buffer.data(), buffer.size());
  *r.head = head;
  Bytes rest = record.subspan(sizeof(head), record.size() - sizeof(head) - sizeof(izo_kml_tail));
  std::uint32_t block = 1;
  while (!rest.empty()) {
    const auto item = load<izo_kml_item>(rest);
    const std::size_t room = (little(item.len) + 7U) & ~7U;
    rest = rest.subspan(sizeof(item));
    if (little(item.type) == IZO_ITEM_PAD) {
      // It stands at the end of a block.
      block = 4096;
    } else {
      std::memcpy(izo_record_item(&r, little(item.type), little(item.len)), rest.data(),
                  little(item.len));
    }
    rest = rest.subspan(room);
  }
  const std::size_t length =
      izo_record_seal(&r, little(head.offset), little(head.epoch), little(head.recno), block);
  buffer.resize(length);
  return buffer;
}

}  // namespace izo::kml
