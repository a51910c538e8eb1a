// SPDX-License-Identifier: GPL-2.0
#include "proto/messages.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "kml/codec.h"
#include "kml/sample_records.h"
#include "proto/fields.h"

namespace izo::proto {
namespace {

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
using Buffer = std::vector<std::byte>;

constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();
constexpr kml::Fid kFid{.replica = 0x1234, .ino = kMost, .generation = 0x89abcdef};
constexpr std::uint16_t kLargest = std::numeric_limits<std::uint16_t>::max();

kml::Uuid uuid(unsigned seed) {
  kml::Uuid out{};
  for (std::size_t i = 0; i < out.size(); i++) {
    out[i] = static_cast<std::uint8_t>(seed + 17 * i);
  }
  return out;
}

std::vector<kml::Uuid> table(std::size_t count) {
  std::vector<kml::Uuid> out(count);
  for (unsigned i = 0; i < count; i++) {
    out[i] = uuid(i);
  }
  return out;
}

/// Every byte there is, NUL and those that are no UTF-8 too.
std::string all_bytes() {
  std::string out;
  for (int i = 0; i < 256; i++) {
    out += static_cast<char>(i);
  }
  return out;
}

/// All bytes that a name can have.
std::string all_bytes_of_names() {
  std::string out = all_bytes();
  std::erase(out, '\0');
  std::erase(out, '/');
  return out;
}

/// What a log gives: their lengths are set.
std::vector<kml::Record> records(std::size_t count, std::uint64_t seed = 1) {
  kml::SampleRecords samples(seed);
  std::vector<kml::Record> out;
  for (std::size_t i = 0; i < count; i++) {
    out.push_back(samples.make());
    out.back().length = static_cast<std::uint32_t>(kml::encode(out.back()).size());
  }
  return out;
}

std::size_t size_of(const std::vector<kml::Record>& all) {
  std::size_t out = 0;
  for (const kml::Record& record : all) {
    out += record.length;
  }
  return out;
}

std::vector<Frame> frames_of(const Buffer& bytes) {
  FrameReader reader(kMost);
  reader.feed(bytes);
  std::vector<Frame> out;
  for (;;) {
    FrameReader::Next next = reader.next();
    auto* frame = std::get_if<Frame>(&next);
    if (frame == nullptr) {
      EXPECT_TRUE(std::holds_alternative<NeedMore>(next));
      EXPECT_EQ(reader.waiting(), 0U);
      return out;
    }
    out.push_back(std::move(*frame));
  }
}

template <typename Message>
Buffer bytes_of(const Message& message, int level = 1) {
  Buffer out;
  MessageWriter(level).add(out, message);
  return out;
}

/// The only frame, which must be of that type.
template <typename Message>
Buffer payload_of(const Message& message, Part part = Part::kHead) {
  std::vector<Frame> frames = frames_of(bytes_of(message));
  EXPECT_EQ(frames.size(), 1U);
  EXPECT_EQ(frames.at(0).type, static_cast<std::uint8_t>(part));
  return std::move(frames.at(0).payload);
}

template <typename Decoded>
std::string complaint(const Decoded& decoded) {
  const auto* corrupt = std::get_if<Corrupt>(&decoded);
  return corrupt != nullptr ? corrupt->what : "";
}

/// The request's head as the other side has it.
template <typename T>
T there(const T& request) {
  const Kind kind = kind_of(Request(request));
  auto decoded = decode_request(kind, payload_of(Request(request)));
  EXPECT_EQ(complaint(decoded), "");
  return std::get<T>(std::get<Request>(std::move(decoded)));
}

/// The answer with all that comes with it, as the other side has it.
template <typename T>
T back(Kind kind, const T& response) {
  T out;
  for (const Frame& frame : frames_of(bytes_of(Response(response)))) {
    if (frame.type == static_cast<std::uint8_t>(Part::kHead)) {
      out = std::get<T>(std::get<Response>(decode_response(kind, frame.payload)));
    }
    if constexpr (std::is_same_v<T, Pulled> || std::is_same_v<T, Described>) {
      if (frame.type == static_cast<std::uint8_t>(Part::kRecords)) {
        const auto more = std::get<std::vector<kml::Record>>(decode_records(frame.payload));
        out.records.insert(out.records.end(), more.begin(), more.end());
      }
    }
    if constexpr (std::is_same_v<T, Listed>) {
      if (frame.type == static_cast<std::uint8_t>(Part::kNames)) {
        const auto more = std::get<std::vector<Listed::Entry>>(decode_names(frame.payload));
        out.entries.insert(out.entries.end(), more.begin(), more.end());
      }
    }
  }
  return out;
}

Welcome welcome() {
  return {.replica = uuid(1),
          .epoch = 2,
          .table = table(3),
          .first = 4,
          .first_recno = 5,
          .accepted = {.epoch = 6, .recno = kMost, .offset = 8},
          .known = 9,
          .known_time = kMost - 1};
}

TEST(Kind, HasTheNameOfThePath) {
  for (const Kind kind :
       {Kind::kHello, Kind::kPull, Kind::kList, Kind::kFetch, Kind::kPush, Kind::kDescribe}) {
    EXPECT_EQ(kind_of(name_of(kind)), kind);
  }
  EXPECT_EQ(name_of(Kind::kFetch), "fetch");
  EXPECT_EQ(kind_of("upload"), std::nullopt);
  EXPECT_EQ(kind_of("Hello"), std::nullopt);
  EXPECT_EQ(kind_of(""), std::nullopt);
}

TEST(Kind, IsThatOfTheRequest) {
  EXPECT_EQ(kind_of(Request(Hello{})), Kind::kHello);
  EXPECT_EQ(kind_of(Request(Pull{})), Kind::kPull);
  EXPECT_EQ(kind_of(Request(List{})), Kind::kList);
  EXPECT_EQ(kind_of(Request(Fetch{})), Kind::kFetch);
  EXPECT_EQ(kind_of(Request(Push{})), Kind::kPush);
  EXPECT_EQ(kind_of(Request(Describe{})), Kind::kDescribe);
}

TEST(Message, TheBytesAreThoseOfTheDocument) {
  // docs/http-protocol.md has this request.
  constexpr unsigned char kExpected[] = {0x49, 0x5a, 0x4f, 0x46, 0x01, 0x00, 0x00, 0x00,
                                         0x08, 0x00, 0x00, 0x00, 0x08, 0x00, 0x00, 0x00,
                                         0xf2, 0x1e, 0x74, 0x06, 0x00, 0x00, 0x00, 0x00,
                                         0x00, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00};
  const Bytes expected = std::as_bytes(std::span(kExpected));
  EXPECT_EQ(bytes_of(Request(List{.offset = 4096})), Buffer(expected.begin(), expected.end()));
}

TEST(Message, RequestsArriveAsTheyWere) {
  for (const std::size_t count : {std::size_t{0}, std::size_t{1}, std::size_t{kLargest}}) {
    const Hello hello = there(Hello{.replica = uuid(9), .epoch = kMost, .table = table(count)});
    EXPECT_EQ(hello.replica, uuid(9));
    EXPECT_EQ(hello.epoch, kMost);
    EXPECT_EQ(hello.table, table(count));
    const Push push = there(Push{.replica = uuid(9),
                                 .epoch = 1,
                                 .table = table(count),
                                 .partial = count == 1,
                                 .records = {},
                                 .bodies = {}});
    EXPECT_EQ(push.replica, uuid(9));
    EXPECT_EQ(push.epoch, 1U);
    EXPECT_EQ(push.table, table(count));
    EXPECT_EQ(push.partial, count == 1);
  }
  const Pull pull = there(Pull{.replica = uuid(8), .epoch = 1, .offset = 2, .recno = kMost});
  EXPECT_EQ(pull.replica, uuid(8));
  EXPECT_EQ(pull.epoch, 1U);
  EXPECT_EQ(pull.offset, 2U);
  EXPECT_EQ(pull.recno, kMost);
  EXPECT_EQ(there(List{.offset = kMost}).offset, kMost);
  const Fetch fetch = there(Fetch{.items = {{kFid, 1, 7, kMost}, {kml::kRootFid, kMost, 0, 0}}});
  ASSERT_EQ(fetch.items.size(), 2U);
  EXPECT_EQ(fetch.items[0].fid, kFid);
  EXPECT_EQ(fetch.items[0].recno, 1U);
  EXPECT_EQ(fetch.items[0].number, 7U);
  EXPECT_EQ(fetch.items[0].offset, kMost);
  EXPECT_EQ(fetch.items[1].fid, kml::kRootFid);
  EXPECT_EQ(fetch.items[1].recno, kMost);
  EXPECT_TRUE(there(Fetch{}).items.empty());
  // As many as an answer may have bodies.
  Fetch most;
  most.items.resize(4096);
  EXPECT_EQ(there(most).items.size(), 4096U);
  most.items.resize(4097);
  EXPECT_NE(complaint(decode_request(Kind::kFetch, payload_of(Request(most)))), "");
  EXPECT_EQ(there(Describe{.fids = {kFid, kml::kRootFid}}).fids,
            (std::vector<kml::Fid>{kFid, kml::kRootFid}));
  EXPECT_TRUE(there(Describe{}).fids.empty());
  Describe all;
  all.fids.resize(256);
  EXPECT_EQ(there(all).fids.size(), 256U);
  all.fids.resize(257);
  EXPECT_NE(complaint(decode_request(Kind::kDescribe, payload_of(Request(all)))), "");
}

TEST(Message, AnswersArriveAsTheyWere) {
  const auto got = back(Kind::kHello, welcome());
  EXPECT_EQ(got.replica, welcome().replica);
  EXPECT_EQ(got.epoch, welcome().epoch);
  EXPECT_EQ(got.table, welcome().table);
  EXPECT_EQ(got.first, welcome().first);
  EXPECT_EQ(got.first_recno, welcome().first_recno);
  EXPECT_EQ(got.accepted, welcome().accepted);
  EXPECT_EQ(got.known, welcome().known);
  EXPECT_EQ(got.known_time, welcome().known_time);
  for (const std::string& text : {std::string(), all_bytes(), std::string(kLargest, 'x')}) {
    const auto pushed =
        back(Kind::kPush,
             Pushed{.accepted = {.epoch = 1, .recno = 2, .offset = kMost}, .stopped = text});
    EXPECT_EQ(pushed.accepted, (Received{.epoch = 1, .recno = 2, .offset = kMost}));
    EXPECT_EQ(pushed.stopped, text);
    // In place of any answer.
    for (const Kind kind :
         {Kind::kHello, Kind::kPull, Kind::kList, Kind::kFetch, Kind::kPush, Kind::kDescribe}) {
      EXPECT_EQ(back(kind, Refusal{.why = text}).why, text);
    }
  }
}

TEST(Message, PulledHasADigestOrNone) {
  for (const std::optional<std::uint64_t>& digest :
       {std::optional<std::uint64_t>(), std::optional<std::uint64_t>(0),
        std::optional<std::uint64_t>(kMost)}) {
    for (const std::size_t count : {std::size_t{0}, std::size_t{1}, std::size_t{3000}}) {
      const Pulled sent{.records = records(count),
                        .next = kMost,
                        .table = table(count),
                        .digest = digest,
                        .echoed = 7};
      const auto got = back(Kind::kPull, sent);
      EXPECT_EQ(got.next, kMost);
      EXPECT_EQ(got.table, sent.table);
      EXPECT_EQ(got.digest, digest);
      EXPECT_EQ(got.echoed, 7U);
      EXPECT_TRUE(got.records == sent.records) << count;
    }
  }
  const Pulled much{.records = records(3000), .next = 0, .table = {}, .digest = {}, .echoed = 0};
  EXPECT_GT(frames_of(bytes_of(Response(much))).size(), 3U);
}

TEST(Message, ListedHasNamesOfAnyBytes) {
  for (const bool is_current : {false, true}) {
    const Listed none{.is_current = is_current,
                      .at = {.epoch = 1, .recno = 2, .offset = kMost},
                      .table = table(3),
                      .entries = {}};
    const auto got = back(Kind::kList, none);
    EXPECT_EQ(got.is_current, is_current);
    EXPECT_EQ(got.at, none.at);
    EXPECT_EQ(got.table, none.table);
  }
  Listed sent{
      .is_current = true,
      .at = {},
      .table = {},
      .entries = {{.name = {.dir = kml::kRootFid, .name = all_bytes_of_names()}, .fid = kFid},
                  {.name = {.dir = kFid, .name = ".a"}, .fid = kml::kRootFid}}};
  // More than one frame.
  for (std::uint32_t i = 0; i < 10000; i++) {
    sent.entries.push_back(
        {.name = {.dir = {.replica = 1, .ino = i, .generation = 2}, .name = std::string(255, 'n')},
         .fid = {.replica = 3, .ino = 4, .generation = i}});
  }
  EXPECT_GT(frames_of(bytes_of(Response(sent))).size(), 3U);
  const auto got = back(Kind::kList, sent);
  ASSERT_EQ(got.entries.size(), sent.entries.size());
  for (std::size_t i = 0; i < got.entries.size(); i++) {
    ASSERT_EQ(got.entries[i].name, sent.entries[i].name) << i;
    ASSERT_EQ(got.entries[i].fid, sent.entries[i].fid) << i;
  }
}

TEST(Message, DescribedHasRecords) {
  for (const std::size_t count : {std::size_t{0}, std::size_t{1}, std::size_t{3000}}) {
    const Described sent{.table = table(count),
                         .at = {.epoch = 1, .recno = 2, .offset = kMost},
                         .gone = std::vector<kml::Fid>(count, kFid),
                         .records = records(count)};
    const auto got = back(Kind::kDescribe, sent);
    EXPECT_EQ(got.table, sent.table);
    EXPECT_EQ(got.at, sent.at);
    EXPECT_EQ(got.gone, sent.gone);
    EXPECT_TRUE(got.records == sent.records) << count;
  }
}

TEST(Message, FetchedHasAsManyBodiesAsItSays) {
  for (const std::size_t count : {std::size_t{0}, std::size_t{1}, std::size_t{4096}}) {
    Fetched sent;
    sent.bodies.resize(count);
    const auto got = back(Kind::kFetch, sent);
    EXPECT_EQ(got.bodies.size(), count);
    // None is there: what does not come is asked for again.
    EXPECT_TRUE(
        std::ranges::none_of(got.bodies, [](const auto& body) { return body.has_value(); }));
  }
  for (const std::uint32_t count : {4097U, std::numeric_limits<std::uint32_t>::max()}) {
    FieldWriter out;
    out.number(std::uint8_t{0});
    out.number(count);
    EXPECT_NE(complaint(decode_response(Kind::kFetch, out.bytes())), "") << count;
  }
}

TEST(Message, AFlagIsZeroOrOne) {
  const auto with = [](const auto& message, std::size_t at, int value) {
    Buffer payload = payload_of(message);
    payload.at(at) = static_cast<std::byte>(value);
    return payload;
  };
  for (int value = 0; value < 256; value++) {
    // Behind the answer's tag, the offset and an empty table.
    EXPECT_EQ(complaint(decode_response(Kind::kPull, with(Response(Pulled{}), 11, value))).empty(),
              value <= 1);
    EXPECT_EQ(complaint(decode_response(Kind::kList, with(Response(Listed{}), 1, value))).empty(),
              value <= 1);
    // Behind the UUID, the epoch and an empty table.
    EXPECT_EQ(
        complaint(decode_request(Kind::kPush, with(Request(Push{.replica = uuid(1)}), 26, value)))
            .empty(),
        value <= 1);
  }
}

TEST(Message, AUuidOfZerosNamesNobody) {
  const kml::Uuid nobody{};
  const Hello hello{.replica = uuid(1), .epoch = 1, .table = {uuid(1), nobody}};
  const Buffer payload = payload_of(Request(hello));
  EXPECT_NE(complaint(decode_request(Kind::kHello, payload)), "");
  const Buffer other = payload_of(Request(Hello{.replica = nobody, .epoch = 1, .table = table(2)}));
  EXPECT_NE(complaint(decode_request(Kind::kHello, other)), "");
}

TEST(Message, EveryTruncatedRequestIsRefused) {
  const Request requests[] = {
      Hello{.replica = uuid(1), .epoch = 1, .table = table(2)},
      Pull{.replica = uuid(1), .epoch = 1, .offset = 2, .recno = 3}, List{.offset = 1},
      Fetch{.items = {{kFid, 1, 0, 0}, {kFid, 2, 0, 0}}},
      Push{.replica = uuid(1), .epoch = 1, .table = table(2), .records = {}, .bodies = {}}};
  for (const Request& request : requests) {
    const Kind kind = kind_of(request);
    Buffer payload = payload_of(request);
    const std::size_t item = payload.size() / 2;
    for (std::size_t count = 0; count < payload.size(); count++) {
      const auto decoded = decode_request(kind, Bytes(payload).first(count));
      if (kind == Kind::kFetch && count % item == 0) {
        EXPECT_EQ(std::get<Fetch>(std::get<Request>(decoded)).items.size(), count / item);
      } else if (kind == Kind::kDescribe && count % item == 0) {
        EXPECT_EQ(std::get<Describe>(std::get<Request>(decoded)).fids.size(), count / item);
      } else {
        EXPECT_EQ(complaint(decoded), "not a message of kind " + std::string(name_of(kind)))
            << count;
      }
    }
    payload.push_back(std::byte{0});
    EXPECT_NE(complaint(decode_request(kind, payload)), "") << name_of(kind);
  }
}

TEST(Message, EveryTruncatedAnswerIsRefused) {
  Fetched fetched;
  fetched.bodies.resize(1);
  const std::pair<Kind, Response> responses[] = {
      {Kind::kHello, welcome()},
      {Kind::kPull, Pulled{.records = {}, .next = 1, .table = table(2), .digest = 3, .echoed = 4}},
      {Kind::kList, Listed{.is_current = true, .at = {}, .table = table(2), .entries = {}}},
      {Kind::kDescribe, Described{.table = table(2), .at = {}, .gone = {}, .records = {}}},
      {Kind::kFetch, fetched},
      {Kind::kPush, Pushed{.accepted = {.epoch = 1, .recno = 2, .offset = 3}, .stopped = "full"}},
      {Kind::kPull, Refusal{.why = "you"}}};
  for (const auto& [kind, response] : responses) {
    Buffer payload = payload_of(response);
    for (std::size_t count = 0; count < payload.size(); count++) {
      EXPECT_EQ(complaint(decode_response(kind, Bytes(payload).first(count))),
                "not a message of kind answer to " + std::string(name_of(kind)))
          << count;
    }
    EXPECT_EQ(complaint(decode_response(kind, payload)), "");
    for (int tag = 2; tag < 256; tag++) {
      Buffer other = payload;
      other[0] = static_cast<std::byte>(tag);
      EXPECT_NE(complaint(decode_response(kind, other)), "") << tag;
    }
    payload.push_back(std::byte{0});
    EXPECT_NE(complaint(decode_response(kind, payload)), "") << name_of(kind);
  }
}

TEST(Message, NamesThatLeadOutOfTheirDirectoryAreRefused) {
  using std::string_literals::operator""s;
  for (const std::string& name :
       {""s, "."s, ".."s, "/"s, "a/b"s, "../x"s, "/etc/passwd"s, "a\0b"s, std::string(256, 'n')}) {
    const Listed listed{.is_current = true,
                        .at = {},
                        .table = {},
                        .entries = {{.name = {.dir = kFid, .name = name}, .fid = kFid}}};
    const std::vector<Frame> frames = frames_of(bytes_of(Response(listed)));
    ASSERT_EQ(frames.size(), 2U);
    EXPECT_EQ(complaint(decode_names(frames[1].payload)), "a name that no file can have") << name;
  }
}

TEST(Message, NamesThatAreCutOffAreRefused) {
  const Listed listed{.is_current = true,
                      .at = {},
                      .table = {},
                      .entries = {{.name = {.dir = kFid, .name = "n"}, .fid = kFid}}};
  const std::vector<Frame> frames = frames_of(bytes_of(Response(listed)));
  ASSERT_EQ(frames.size(), 2U);
  Buffer payload = frames[1].payload;
  EXPECT_TRUE(std::get<std::vector<Listed::Entry>>(decode_names({})).empty());
  for (std::size_t count = 1; count < payload.size(); count++) {
    EXPECT_NE(complaint(decode_names(Bytes(payload).first(count))), "") << count;
  }
  payload.push_back(std::byte{0});
  EXPECT_NE(complaint(decode_names(payload)), "");
}

TEST(Message, RecordsThatAreCutOffOrCorruptAreRefused) {
  const std::vector<kml::Record> two = records(2, 5);
  Buffer payload;
  for (const kml::Record& record : two) {
    const Buffer bytes = kml::encode(record);
    payload.insert(payload.end(), bytes.begin(), bytes.end());
  }
  EXPECT_EQ(std::get<std::vector<kml::Record>>(decode_records(payload)), two);
  EXPECT_TRUE(std::get<std::vector<kml::Record>>(decode_records({})).empty());
  for (std::size_t count = 1; count < payload.size(); count++) {
    if (count != two[0].length) {
      EXPECT_EQ(complaint(decode_records(Bytes(payload).first(count))), "a record is cut off");
    }
  }
  for (std::byte& byte : payload) {
    byte ^= std::byte{0x10};
    EXPECT_NE(complaint(decode_records(payload)), "");
    byte ^= std::byte{0x10};
  }
  // Room that means nothing in a log is nothing to send.
  EXPECT_NE(
      complaint(decode_records(kml::encode(kml::Filler{.length = 64, .offset = 0, .epoch = 1}))),
      "");
}

TEST(Message, OfAPushAsManyRecordsGoAsFit) {
  Push push;
  push.records = records(20, 3);
  const auto sent = [&](std::size_t most) {
    Buffer out;
    const std::size_t count = MessageWriter(1).add(out, Request(push), most);
    std::vector<kml::Record> got;
    const std::vector<Frame> frames = frames_of(out);
    for (std::size_t i = 1; i < frames.size(); i++) {
      EXPECT_EQ(frames[i].type, static_cast<std::uint8_t>(Part::kRecords));
      const auto more = std::get<std::vector<kml::Record>>(decode_records(frames[i].payload));
      got.insert(got.end(), more.begin(), more.end());
    }
    EXPECT_TRUE(std::ranges::equal(got, std::span(push.records).first(count)));
    return count;
  };
  const std::size_t all = size_of(push.records);
  EXPECT_EQ(sent(all), 20U);
  EXPECT_EQ(sent(all - 1), 19U);
  // One always goes, or nothing would ever.
  EXPECT_EQ(sent(0), 1U);
  EXPECT_EQ(sent(push.records[0].length + push.records[1].length - 1), 1U);
  EXPECT_EQ(sent(push.records[0].length + push.records[1].length), 2U);
  push.records.clear();
  EXPECT_EQ(sent(all), 0U);
}

TEST(Body, HeadsAndEndsArriveAsTheyWere) {
  using State = BodyHead::State;
  for (const State state :
       {State::kHere, State::kNone, State::kLater, State::kUploaded, State::kRest}) {
    const BodyHead sent{.index = 0xffffffff, .state = state, .size = kLongestBody, .number = kMost};
    EXPECT_EQ(std::get<BodyHead>(decode_body_head(payload_of(sent, Part::kBody))), sent);
  }
  for (const bool whole : {false, true}) {
    const BodyEnd sent{.index = 0xfffffffe, .whole = whole};
    EXPECT_EQ(std::get<BodyEnd>(decode_body_end(payload_of(sent, Part::kBodyEnd))), sent);
  }
  Buffer out;
  const Buffer data(kBodyPiece, std::byte{0x5a});
  MessageWriter(0).add_data(out, data);
  EXPECT_EQ(frames_of(out), (std::vector<Frame>{{static_cast<std::uint8_t>(Part::kData), data}}));
}

TEST(Body, HolesArriveAsTheyWereAndNothingElseDoes) {
  for (const std::uint64_t length : {std::uint64_t{1}, kLongestBody}) {
    EXPECT_EQ(std::get<Hole>(decode_hole(payload_of(Hole{length}, Part::kHole))), Hole{length});
  }
  // No body is so long, and none of nothing.
  for (const std::uint64_t length : {std::uint64_t{0}, kLongestBody + 1, kMost}) {
    EXPECT_NE(complaint(decode_hole(payload_of(Hole{length}, Part::kHole))), "") << length;
  }
  Buffer hole = payload_of(Hole{1}, Part::kHole);
  for (std::size_t count = 0; count < hole.size(); count++) {
    EXPECT_NE(complaint(decode_hole(Bytes(hole).first(count))), "") << count;
  }
  hole.push_back(std::byte{0});
  EXPECT_NE(complaint(decode_hole(hole)), "");
}

TEST(Body, HeadsAndEndsThatDoNotFitAreRefused) {
  const BodyHead long_one{.index = 1, .state = BodyHead::State::kHere, .size = kLongestBody + 1};
  EXPECT_NE(complaint(decode_body_head(payload_of(long_one, Part::kBody))), "");

  Buffer head = payload_of(BodyHead{.index = 1, .state = BodyHead::State::kHere}, Part::kBody);
  Buffer end = payload_of(BodyEnd{.index = 1, .whole = true}, Part::kBodyEnd);
  for (std::size_t count = 0; count < head.size(); count++) {
    EXPECT_NE(complaint(decode_body_head(Bytes(head).first(count))), "") << count;
  }
  for (std::size_t count = 0; count < end.size(); count++) {
    EXPECT_NE(complaint(decode_body_end(Bytes(end).first(count))), "") << count;
  }
  for (int value = 0; value < 256; value++) {
    Buffer other = head;
    other[4] = static_cast<std::byte>(value);
    EXPECT_EQ(complaint(decode_body_head(other)).empty(), value >= 1 && value <= 5) << value;
    other = end;
    other[4] = static_cast<std::byte>(value);
    EXPECT_EQ(complaint(decode_body_end(other)).empty(), value <= 1) << value;
  }
  head.push_back(std::byte{0});
  EXPECT_NE(complaint(decode_body_head(head)), "");
  end.push_back(std::byte{0});
  EXPECT_NE(complaint(decode_body_end(end)), "");
}

}  // namespace
}  // namespace izo::proto
