// SPDX-License-Identifier: GPL-2.0
#include "proto/messages.h"

#include <array>
#include <type_traits>
#include <utility>

#include "kml/codec.h"
#include "proto/fields.h"

namespace izo::proto {

using repl::Describe;
using repl::Described;
using repl::Fetch;
using repl::Fetched;
using repl::Hello;
using repl::List;
using repl::Listed;
using repl::Pull;
using repl::Pulled;
using repl::Push;
using repl::Pushed;
using repl::Received;
using repl::Refusal;
using repl::Request;
using repl::Response;
using repl::Welcome;

namespace {

constexpr std::array<std::string_view, 6> kNames{"hello", "pull", "list",
                                                 "fetch", "push", "describe"};
/// In the first byte of an answer.
constexpr std::uint8_t kAsAsked = 0;
constexpr std::uint8_t kRefused = 1;
/// Bytes of a frame of records or names: it is begun anew beyond that.
constexpr std::size_t kFull = std::size_t{1} << 20;
/// The most bodies of one message, and objects that are described.
constexpr std::uint32_t kMostBodies = 4096;
constexpr std::size_t kMostDescribed = 256;

Corrupt not_a(std::string_view what) {
  return Corrupt{"not a message of kind " + std::string(what)};
}

void put(FieldWriter& out, const Received& position) {
  out.number(position.epoch);
  out.number(position.recno);
  out.number(position.offset);
}

Received received(FieldReader& in) {
  Received out;
  out.epoch = in.number<std::uint64_t>();
  out.recno = in.number<std::uint64_t>();
  out.offset = in.number<std::uint64_t>();
  return out;
}

void put(FieldWriter& out, const Hello& hello) {
  out.uuid(hello.replica);
  out.number(hello.epoch);
  out.table(hello.table);
}

void put(FieldWriter& out, const Pull& pull) {
  out.uuid(pull.replica);
  out.number(pull.epoch);
  out.number(pull.offset);
  out.number(pull.recno);
}

void put(FieldWriter& out, const List& list) {
  out.number(list.offset);
}

void put(FieldWriter& out, const Fetch& fetch) {
  for (const Fetch::Item& item : fetch.items) {
    out.fid(item.fid);
    out.number(item.recno);
    out.number(item.number);
    out.number(item.offset);
  }
}

void put(FieldWriter& out, const Push& push) {
  out.uuid(push.replica);
  out.number(push.epoch);
  out.table(push.table);
  out.number(static_cast<std::uint8_t>(push.partial ? 1 : 0));
}

void put(FieldWriter& out, const Describe& describe) {
  for (const kml::Fid& fid : describe.fids) {
    out.fid(fid);
  }
}

void put(FieldWriter& out, const Welcome& welcome) {
  out.uuid(welcome.replica);
  out.number(welcome.epoch);
  out.table(welcome.table);
  out.number(welcome.first);
  out.number(welcome.first_recno);
  put(out, welcome.accepted);
  out.number(welcome.known);
  out.number(welcome.known_time);
}

void put(FieldWriter& out, const Pulled& pulled) {
  out.number(pulled.next);
  out.table(pulled.table);
  out.number(static_cast<std::uint8_t>(pulled.digest ? 1 : 0));
  out.number(pulled.digest.value_or(0));
  out.number(pulled.echoed);
}

void put(FieldWriter& out, const Listed& listed) {
  out.number(static_cast<std::uint8_t>(listed.is_current ? 1 : 0));
  put(out, listed.at);
  out.table(listed.table);
}

void put(FieldWriter& out, const Described& described) {
  out.table(described.table);
  put(out, described.at);
  for (const kml::Fid& fid : described.gone) {
    out.fid(fid);
  }
}

void put(FieldWriter& out, const Fetched& fetched) {
  out.number(static_cast<std::uint32_t>(fetched.bodies.size()));
}

void put(FieldWriter& out, const Pushed& pushed) {
  put(out, pushed.accepted);
  out.text(pushed.stopped);
}

void put(FieldWriter& out, const Refusal& refusal) {
  out.text(refusal.why);
}

Hello hello(FieldReader& in) {
  Hello out;
  out.replica = in.uuid();
  out.epoch = in.number<std::uint64_t>();
  out.table = in.table();
  return out;
}

Pull pull(FieldReader& in) {
  Pull out;
  out.replica = in.uuid();
  out.epoch = in.number<std::uint64_t>();
  out.offset = in.number<std::uint64_t>();
  out.recno = in.number<std::uint64_t>();
  return out;
}

Fetch fetch(FieldReader& in) {
  Fetch out;
  while (in.has_more()) {
    Fetch::Item item;
    item.fid = in.fid();
    item.recno = in.number<std::uint64_t>();
    item.number = in.number<std::uint64_t>();
    item.offset = in.number<std::uint64_t>();
    out.items.push_back(item);
  }
  if (out.items.size() > kMostBodies) {
    in.refuse();
  }
  return out;
}

Describe describe(FieldReader& in) {
  Describe out;
  while (in.has_more()) {
    out.fids.push_back(in.fid());
  }
  if (out.fids.size() > kMostDescribed) {
    in.refuse();
  }
  return out;
}

Push push(FieldReader& in) {
  Push out;
  out.replica = in.uuid();
  out.epoch = in.number<std::uint64_t>();
  out.table = in.table();
  out.partial = in.flag();
  return out;
}

Welcome welcome(FieldReader& in) {
  Welcome out;
  out.replica = in.uuid();
  out.epoch = in.number<std::uint64_t>();
  out.table = in.table();
  out.first = in.number<std::uint64_t>();
  out.first_recno = in.number<std::uint64_t>();
  out.accepted = received(in);
  out.known = in.number<std::uint64_t>();
  out.known_time = in.number<std::uint64_t>();
  return out;
}

Pulled pulled(FieldReader& in) {
  Pulled out;
  out.next = in.number<std::uint64_t>();
  out.table = in.table();
  const bool has_digest = in.flag();
  const auto digest = in.number<std::uint64_t>();
  out.digest = has_digest ? std::optional(digest) : std::nullopt;
  out.echoed = in.number<std::uint64_t>();
  return out;
}

Described described(FieldReader& in) {
  Described out;
  out.table = in.table();
  out.at = received(in);
  while (in.has_more()) {
    out.gone.push_back(in.fid());
  }
  return out;
}

Listed listed(FieldReader& in) {
  Listed out;
  out.is_current = in.flag();
  out.at = received(in);
  out.table = in.table();
  return out;
}

Pushed pushed(FieldReader& in) {
  Pushed out;
  out.accepted = received(in);
  out.stopped = in.text();
  return out;
}

Request request_of(Kind kind, FieldReader& in) {
  switch (kind) {
    case Kind::kHello:
      return hello(in);
    case Kind::kPull:
      return pull(in);
    case Kind::kList:
      return List{.offset = in.number<std::uint64_t>()};
    case Kind::kFetch:
      return fetch(in);
    case Kind::kDescribe:
      return describe(in);
    case Kind::kPush:
      break;
  }
  return push(in);
}

Response response_of(Kind kind, FieldReader& in) {
  switch (kind) {
    case Kind::kHello:
      return welcome(in);
    case Kind::kPull:
      return pulled(in);
    case Kind::kList:
      return listed(in);
    case Kind::kDescribe:
      return described(in);
    case Kind::kFetch: {
      Fetched out;
      const auto count = in.number<std::uint32_t>();
      if (count > kMostBodies) {
        in.refuse();
        return out;
      }
      out.bodies.resize(count);
      return out;
    }
    case Kind::kPush:
      break;
  }
  return pushed(in);
}

}  // namespace

std::string_view name_of(Kind kind) {
  return kNames.at(static_cast<std::size_t>(kind));
}

std::optional<Kind> kind_of(std::string_view name) {
  for (std::size_t i = 0; i < kNames.size(); i++) {
    if (kNames.at(i) == name) {
      return static_cast<Kind>(i);
    }
  }
  return std::nullopt;
}

Kind kind_of(const Request& request) {
  return static_cast<Kind>(request.index());
}

std::size_t MessageWriter::add(std::vector<std::byte>& out, const Request& request,
                               std::size_t most) {
  FieldWriter fields;
  std::visit([&](const auto& one) { put(fields, one); }, request);
  frames_.add(out, static_cast<std::uint8_t>(Part::kHead), fields.bytes());
  const auto* pushes = std::get_if<Push>(&request);
  return pushes != nullptr ? add_records(out, pushes->records, most) : 0;
}

void MessageWriter::add(std::vector<std::byte>& out, const Response& response) {
  FieldWriter fields;
  fields.number(std::holds_alternative<Refusal>(response) ? kRefused : kAsAsked);
  std::visit([&](const auto& one) { put(fields, one); }, response);
  frames_.add(out, static_cast<std::uint8_t>(Part::kHead), fields.bytes());
  if (const auto* records = std::get_if<Pulled>(&response)) {
    add_records(out, records->records, SIZE_MAX);
  } else if (const auto* names = std::get_if<Listed>(&response)) {
    add_names(out, names->entries);
  } else if (const auto* described = std::get_if<Described>(&response)) {
    add_records(out, described->records, SIZE_MAX);
  }
}

std::size_t MessageWriter::add_records(std::vector<std::byte>& out,
                                       std::span<const kml::Record> records, std::size_t most) {
  std::vector<std::byte> payload;
  std::size_t bytes = 0;
  std::size_t count = 0;
  for (const kml::Record& record : records) {
    const std::vector<std::byte> one = kml::encode(record);
    bytes += one.size();
    if (count != 0 && bytes > most) {
      break;
    }
    count++;
    payload.insert(payload.end(), one.begin(), one.end());
    if (payload.size() >= kFull) {
      frames_.add(out, static_cast<std::uint8_t>(Part::kRecords), payload);
      payload.clear();
    }
  }
  if (!payload.empty()) {
    frames_.add(out, static_cast<std::uint8_t>(Part::kRecords), payload);
  }
  return count;
}

void MessageWriter::add_names(std::vector<std::byte>& out, std::span<const Listed::Entry> entries) {
  FieldWriter fields;
  for (const Listed::Entry& entry : entries) {
    fields.fid(entry.name.dir);
    fields.text(entry.name.name);
    fields.fid(entry.fid);
    if (fields.bytes().size() >= kFull) {
      frames_.add(out, static_cast<std::uint8_t>(Part::kNames), fields.bytes());
      fields = FieldWriter();
    }
  }
  if (!fields.bytes().empty()) {
    frames_.add(out, static_cast<std::uint8_t>(Part::kNames), fields.bytes());
  }
}

void MessageWriter::add(std::vector<std::byte>& out, const BodyHead& head) {
  FieldWriter fields;
  fields.number(head.index);
  fields.number(static_cast<std::uint8_t>(head.state));
  fields.number(head.size);
  fields.number(head.number);
  frames_.add(out, static_cast<std::uint8_t>(Part::kBody), fields.bytes());
}

void MessageWriter::add_data(std::vector<std::byte>& out, Bytes data) {
  frames_.add(out, static_cast<std::uint8_t>(Part::kData), data);
}

void MessageWriter::add(std::vector<std::byte>& out, const Hole& hole) {
  FieldWriter fields;
  fields.number(hole.length);
  frames_.add(out, static_cast<std::uint8_t>(Part::kHole), fields.bytes());
}

void MessageWriter::add(std::vector<std::byte>& out, const BodyEnd& end) {
  FieldWriter fields;
  fields.number(end.index);
  fields.number(static_cast<std::uint8_t>(end.whole ? 1 : 0));
  frames_.add(out, static_cast<std::uint8_t>(Part::kBodyEnd), fields.bytes());
}

std::variant<Request, Corrupt> decode_request(Kind kind, Bytes payload) {
  FieldReader in(payload);
  Request out = request_of(kind, in);
  if (!in.ended()) {
    return not_a(name_of(kind));
  }
  return out;
}

std::variant<Response, Corrupt> decode_response(Kind kind, Bytes payload) {
  FieldReader in(payload);
  const auto how = in.number<std::uint8_t>();
  Response out = how == kRefused ? Response(Refusal{.why = in.text()}) : response_of(kind, in);
  if (!in.ended() || how > kRefused) {
    return not_a("answer to " + std::string(name_of(kind)));
  }
  return out;
}

std::variant<std::vector<kml::Record>, Corrupt> decode_records(Bytes payload) {
  std::vector<kml::Record> out;
  while (!payload.empty()) {
    kml::Decoded decoded = kml::decode(payload);
    if (const auto* fault = std::get_if<kml::Corrupt>(&decoded)) {
      return Corrupt{"a record: " + fault->what};
    }
    auto* record = std::get_if<kml::Record>(&decoded);
    if (record == nullptr || record->length > payload.size()) {
      return Corrupt{"a record is cut off"};
    }
    payload = payload.subspan(record->length);
    out.push_back(std::move(*record));
  }
  return out;
}

std::variant<std::vector<Listed::Entry>, Corrupt> decode_names(Bytes payload) {
  std::vector<Listed::Entry> out;
  FieldReader in(payload);
  while (in.has_more()) {
    Listed::Entry entry;
    entry.name.dir = in.fid();
    entry.name.name = in.text();
    entry.fid = in.fid();
    if (in.is_short()) {
      break;
    }
    // It goes to system calls as it is: nothing may lead out of its directory.
    if (!kml::is_name(entry.name.name)) {
      return Corrupt{"a name that no file can have"};
    }
    out.push_back(std::move(entry));
  }
  if (!in.ended()) {
    return not_a("names");
  }
  return out;
}

std::variant<BodyHead, Corrupt> decode_body_head(Bytes payload) {
  FieldReader in(payload);
  BodyHead out;
  out.index = in.number<std::uint32_t>();
  const auto state = in.number<std::uint8_t>();
  out.size = in.number<std::uint64_t>();
  out.number = in.number<std::uint64_t>();
  if (!in.ended() || state < static_cast<std::uint8_t>(BodyHead::State::kHere) ||
      state > static_cast<std::uint8_t>(BodyHead::State::kRest) || out.size > kLongestBody) {
    return not_a("body");
  }
  out.state = static_cast<BodyHead::State>(state);
  return out;
}

std::variant<Hole, Corrupt> decode_hole(Bytes payload) {
  FieldReader in(payload);
  const Hole out{.length = in.number<std::uint64_t>()};
  if (!in.ended() || out.length == 0 || out.length > kLongestBody) {
    return not_a("hole in a body");
  }
  return out;
}

std::variant<BodyEnd, Corrupt> decode_body_end(Bytes payload) {
  FieldReader in(payload);
  BodyEnd out;
  out.index = in.number<std::uint32_t>();
  out.whole = in.flag();
  if (!in.ended()) {
    return not_a("end of a body");
  }
  return out;
}

}  // namespace izo::proto
