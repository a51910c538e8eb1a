// SPDX-License-Identifier: GPL-2.0
#include "repl/own_log.h"

#include <algorithm>
#include <string>

#include "base/error.h"

namespace izo::repl {

namespace {

/// Of so many of our last records it is known when they were made, without reading the log.
constexpr std::size_t kTimes = 4096;

}  // namespace

void OwnLog::made(const Record& record) {
  times_.insert_or_assign(times_.end(), record.recno, record.time);
  if (times_.size() > kTimes) {
    times_.erase(times_.begin());
  }
}

/// When our record of that number was made; nothing if our log does not have it.
std::optional<std::uint64_t> OwnLog::time_of(std::uint64_t recno) {
  if (const auto found = times_.find(recno); found != times_.end()) {
    return found->second;
  }
  if (found_ && found_->first == recno) {
    return found_->second;
  }
  // Only after many records without the server.
  const Replica::State state = replica_.state();
  for (std::uint64_t offset = state.first; offset < state.end;) {
    const Replica::Records got = replica_.read(offset);
    const auto found = std::find_if(got.records.begin(), got.records.end(),
                                    [=](const Record& one) { return one.recno >= recno; });
    if (found != got.records.end()) {
      if (found->recno != recno) {
        return std::nullopt;
      }
      found_ = {recno, found->time};
      return found->time;
    }
    if (got.records.empty()) {
      break;
    }
    offset = got.next;
  }
  return std::nullopt;
}

/// What the server has counts as known there: new records with its numbers would never be sent.
void OwnLog::check(const Welcome& welcome, std::uint64_t last) {
  const Received& accepted = welcome.accepted;
  const std::string advice =
      std::string(": its disk was put back to an older state, or lost power without a journal; ") +
      kMakeAnew;
  if (accepted.recno > last) {
    throw Error("this replica's log ends with record " + std::to_string(last) +
                ", before what the server has of it, up to record " +
                std::to_string(accepted.recno) + advice);
  }
  const Replica::State state = replica_.state();
  if (accepted.recno == 0 || accepted.offset < state.first) {
    return;
  }
  // It has grown beyond that since: then records were made at other times, and few are as long as
  // those that were there.
  bool is_other = accepted.offset > state.end ||
                  (welcome.known >= std::max<std::uint64_t>(state.first_recno, 1) &&
                   time_of(welcome.known) != welcome.known_time);
  if (!is_other && accepted.offset < state.end) {
    try {
      const Replica::Records got = replica_.read(accepted.offset);
      // what is not on the medium yet is not read, and says nothing
      is_other = !got.records.empty() && got.records.front().recno != accepted.recno + 1;
    } catch (const NoRecord&) {
      is_other = true;
    }
  }
  if (is_other) {
    throw Error("this replica's log has other records up to " + std::to_string(accepted.recno) +
                " than the server has of it" + advice);
  }
}

}  // namespace izo::repl
