// SPDX-License-Identifier: GPL-2.0
#include "repl/moves.h"

namespace izo::repl {

using kml::Op;

namespace {

Name name_of(const kml::Place& place) {
  return {.dir = place.dir, .name = place.name};
}

}  // namespace

void Moves::add(const Record& record) {
  const auto moved = [&](const Fid& fid, const kml::Place& from, std::optional<Name> to) {
    if (to) {
      // It has that name now, whatever became of it before.
      moved_.erase({fid, *to});
    }
    moved_.insert_or_assign(
        {fid, name_of(from)},
        Moved{.to = std::move(to), .recno = record.recno, .origin = record.origin});
  };
  switch (record.op) {
    case Op::kUnlink:
    case Op::kRmdir:
      moved(record.object, *record.place, std::nullopt);
      break;
    case Op::kRename:
      moved(record.object, *record.place, name_of(*record.to));
      if (record.replaced && (record.flags & IZO_KML_EXCHANGE) != 0) {
        moved(record.replaced->fid, *record.to, name_of(*record.place));
      } else if (record.replaced) {
        moved(record.replaced->fid, *record.to, std::nullopt);
      }
      break;
    case Op::kLink:
      moved_.erase({record.object, name_of(*record.place)});
      break;
    default:
      break;
  }
}

void Moves::claim(const Record& record) {
  const auto give = [&](const Fid& fid, const kml::Place& place) {
    claimed_.insert_or_assign({fid, name_of(place)}, record.recno);
  };
  switch (record.op) {
    case Op::kLink:
      give(record.object, *record.place);
      break;
    case Op::kUnlink:
    case Op::kRmdir:
      claimed_.erase({record.object, name_of(*record.place)});
      break;
    case Op::kRename:
      claimed_.erase({record.object, name_of(*record.place)});
      give(record.object, *record.to);
      if (record.replaced) {
        claimed_.erase({record.replaced->fid, name_of(*record.to)});
        if ((record.flags & IZO_KML_EXCHANGE) != 0) {
          give(record.replaced->fid, *record.place);
        }
      }
      break;
    default:
      break;
  }
}

bool Moves::is_claimed(const Fid& fid, const Name& name) const {
  return claimed_.contains({fid, name});
}

void Moves::add(const Fid& fid, const Name& said, const Name& given) {
  moved_.insert_or_assign({fid, said}, Moved{.to = given, .recno = UINT64_MAX, .origin = 0});
}

std::optional<Moves::Moved> Moves::follow(const Fid& fid, Name name, const Index& index,
                                          std::uint16_t origin, std::uint64_t seen) const {
  std::optional<Moved> last;
  for (unsigned steps = 0; steps < 100; steps++) {
    const auto found = moved_.find({fid, name});
    if (found == moved_.end() || found->second.origin == origin || found->second.recno <= seen) {
      return std::nullopt;
    }
    last = found->second;
    if (!last->to || index.has_name(fid, *last->to)) {
      return last;
    }
    name = *last->to;
  }
  return std::nullopt;
}

void Moves::forget(std::uint64_t recno) {
  std::erase_if(moved_, [&](const auto& entry) { return entry.second.recno <= recno; });
  std::erase_if(claimed_, [&](const auto& entry) { return entry.second <= recno; });
}

}  // namespace izo::repl
