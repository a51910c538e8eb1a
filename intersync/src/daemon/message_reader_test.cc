// SPDX-License-Identifier: GPL-2.0
#include "daemon/message_reader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include "daemon/test_store.h"
#include "daemon/wire_limits.h"
#include "kml/codec.h"
#include "kml/sample_records.h"

namespace izo::daemon {
namespace {

using proto::BodyEnd;
using proto::BodyHead;
using proto::Hole;
using proto::Kind;
using proto::Part;
using repl::Fetched;
using repl::Hello;
using repl::Listed;
using repl::Pull;
using repl::Pulled;
using repl::Push;
using repl::Pushed;
using repl::Refusal;
using repl::Request;
using repl::Response;
using repl::Welcome;
using Buffer = std::vector<std::byte>;
using Side = MessageReader::Side;
using State = BodyHead::State;

constexpr kml::Uuid kClient{1, 2, 3};

/// The frames of a message, one added behind the other.
class Frames {
 public:
  Frames& add(const auto& part) {
    proto::MessageWriter(1).add(bytes_, part);
    ends_.push_back(bytes_.size());
    return *this;
  }
  Frames& data(const Buffer& data) {
    proto::MessageWriter(1).add_data(bytes_, data);
    ends_.push_back(bytes_.size());
    return *this;
  }
  Frames& raw(unsigned type, const Buffer& payload = {}) {
    proto::FrameWriter(0).add(bytes_, static_cast<std::uint8_t>(type), payload);
    ends_.push_back(bytes_.size());
    return *this;
  }
  Frames& raw(Part part, const Buffer& payload = {}) {
    return raw(static_cast<unsigned>(part), payload);
  }
  /// A body that follows.
  Frames& begin(std::uint32_t index, std::uint64_t size) {
    return add(BodyHead{.index = index, .state = State::kHere, .size = size});
  }
  Frames& end(std::uint32_t index, bool whole = true) {
    return add(BodyEnd{.index = index, .whole = whole});
  }

  [[nodiscard]] const Buffer& bytes() const { return bytes_; }
  /// Is there an end of a frame?
  [[nodiscard]] bool is_end(std::size_t at) const { return std::ranges::count(ends_, at) != 0; }

 private:
  Buffer bytes_;
  std::vector<std::size_t> ends_;
};

std::vector<kml::Record> records(std::size_t count) {
  kml::SampleRecords samples(1);
  std::vector<kml::Record> out;
  for (std::size_t i = 0; i < count; i++) {
    out.push_back(samples.make());
    out.back().length = static_cast<std::uint32_t>(kml::encode(out.back()).size());
  }
  return out;
}

Buffer encoded(const std::vector<kml::Record>& all) {
  Buffer out;
  for (const kml::Record& record : all) {
    const Buffer bytes = kml::encode(record);
    out.insert(out.end(), bytes.begin(), bytes.end());
  }
  return out;
}

/// With a value of the largest size that an attribute has.
Buffer large_record() {
  kml::SampleRecords samples(1);
  kml::Record record = samples.make(kml::Op::kSetxattr);
  record.xattrs.front().value.assign(std::size_t{64} << 10, 'v');
  return kml::encode(record);
}

Request push(std::size_t count) {
  return Push{.replica = kClient, .epoch = 5, .table = {}, .records = records(count), .bodies = {}};
}

Response fetched(std::size_t count) {
  Fetched out;
  out.bodies.resize(count);
  return out;
}

Response pulled(std::size_t count) {
  return Pulled{.records = records(count), .next = 1, .table = {}, .digest = {}, .echoed = 0};
}

Response listed() {
  return Listed{.is_current = true,
                .at = {},
                .table = {},
                .entries = {{.name = {.dir = kml::kRootFid, .name = "n"}, .fid = {1, 2, 3}}}};
}

/// What was made of the bytes, the same in pieces of any size.
struct Outcome {
  std::optional<MessageReader::Message> message;
  std::string why;

  template <typename T>
  [[nodiscard]] const T& request() const {
    return std::get<T>(std::get<Request>(message.value()));
  }
  template <typename T>
  [[nodiscard]] const T& response() const {
    return std::get<T>(std::get<Response>(message.value()));
  }
};

class MessageReaderTest : public testing::Test {
 protected:
  BodyStore store() {
    return {.stage = [this] { return stage_in(folder_); },
            .uploaded = [this](const kml::Uuid& client, std::uint64_t number,
                               std::uint64_t size) -> std::shared_ptr<repl::Body> {
              const auto found = uploads_.find(number);
              return client == kClient && found != uploads_.end() && found->second->size() == size
                         ? found->second
                         : nullptr;
            },
            .begun =
                [this](std::uint32_t /*index*/, std::uint64_t number) {
                  return number == 77 ? std::exchange(begun_, std::nullopt) : std::nullopt;
                }};
  }

  std::shared_ptr<BodyFile> body_of(const Buffer& content) {
    StagedBody staged = stage_in(folder_);
    staged.write(content);
    return staged.finish();
  }

  Outcome read_in_pieces(Side side, Kind kind, Bytes bytes, std::size_t piece) {
    MessageReader reader(side, kind, store());
    Outcome out;
    for (std::size_t at = 0; at < bytes.size(); at += piece) {
      if (!reader.feed(bytes.subspan(at, std::min(piece, bytes.size() - at)))) {
        out.why = reader.why();
        EXPECT_NE(out.why, "");
        EXPECT_FALSE(reader.finish());
        // It stays so, whatever else comes.
        EXPECT_FALSE(reader.feed(bytes));
        EXPECT_EQ(reader.why(), out.why);
        return out;
      }
    }
    out.message = reader.finish();
    out.why = reader.why();
    EXPECT_EQ(out.message.has_value(), out.why.empty());
    return out;
  }

  Outcome read(Side side, Kind kind, Bytes bytes) {
    const Outcome slow = read_in_pieces(side, kind, bytes, 1);
    Outcome out = read_in_pieces(side, kind, bytes, std::max<std::size_t>(bytes.size(), 1));
    EXPECT_EQ(slow.why, out.why);
    EXPECT_EQ(slow.message.has_value(), out.message.has_value());
    return out;
  }
  Outcome read_push(const Frames& frames) {
    return read(Side::kRequest, Kind::kPush, frames.bytes());
  }
  Outcome read_fetched(const Frames& frames) {
    return read(Side::kResponse, Kind::kFetch, frames.bytes());
  }

  TemporaryFolder folder_;
  std::map<std::uint64_t, std::shared_ptr<BodyFile>> uploads_;
  std::optional<StagedBody> begun_;
};

TEST_F(MessageReaderTest, MessagesWithoutBodiesArrive) {
  const Request hello = Hello{.replica = kClient, .epoch = 7, .table = {kClient}};
  const auto asked = read(Side::kRequest, Kind::kHello, Frames().add(hello).bytes());
  EXPECT_EQ(asked.request<Hello>().replica, kClient);
  EXPECT_EQ(asked.request<Hello>().table, (std::vector{kClient}));
  const auto got = read(Side::kResponse, Kind::kPull, Frames().add(pulled(50)).bytes());
  EXPECT_EQ(got.response<Pulled>().records, records(50));
  const auto names = read(Side::kResponse, Kind::kList, Frames().add(listed()).bytes());
  ASSERT_EQ(names.response<Listed>().entries.size(), 1U);
  EXPECT_EQ(names.response<Listed>().entries[0].name.name, "n");
  const Response refusal = Refusal{.why = "you"};
  const auto refused = read(Side::kResponse, Kind::kFetch, Frames().add(refusal).bytes());
  EXPECT_EQ(refused.response<Refusal>().why, "you");
}

TEST_F(MessageReaderTest, ListsMayComeInSeveralFrames) {
  const Buffer more = encoded(records(3));
  const auto got =
      read(Side::kResponse, Kind::kPull,
           Frames().add(pulled(0)).raw(Part::kRecords, more).raw(Part::kRecords, more).bytes());
  EXPECT_EQ(got.response<Pulled>().records.size(), 6U);
  EXPECT_EQ(
      read_push(Frames().add(push(2)).raw(Part::kRecords, more)).request<Push>().records.size(),
      5U);
}

TEST_F(MessageReaderTest, APushHasItsBodies) {
  const Buffer large = sample_body(9000);
  uploads_[77] = body_of(sample_body(500, 2));
  Frames frames;
  frames.add(push(6));
  frames.begin(0, 9000).data(Buffer(large.begin(), large.begin() + 4000));
  frames.data(Buffer(large.begin() + 4000, large.end())).end(0);
  frames.add(BodyHead{.index = 1, .state = State::kNone});
  frames.add(BodyHead{.index = 4, .state = State::kUploaded, .size = 500, .number = 77});
  // In any order.
  frames.begin(3, 0).end(3);
  const Outcome got = read_push(frames);
  const auto& arrived = got.request<Push>();
  EXPECT_EQ(arrived.records, records(6));
  ASSERT_EQ(arrived.bodies.size(), 6U);
  EXPECT_EQ(content_of(arrived.bodies[0].get()), large);
  EXPECT_EQ(arrived.bodies[1], nullptr);
  EXPECT_EQ(arrived.bodies[2], nullptr);
  ASSERT_TRUE(arrived.bodies[3]);
  EXPECT_EQ(content_of(arrived.bodies[3].get()), Buffer());
  EXPECT_EQ(arrived.bodies[4], uploads_[77]);
  EXPECT_EQ(arrived.bodies[5], nullptr);
}

TEST_F(MessageReaderTest, APushHasAPlaceForEachBody) {
  EXPECT_EQ(read_push(Frames().add(push(3))).request<Push>().bodies.size(), 3U);
  EXPECT_TRUE(read_push(Frames().add(push(0))).request<Push>().bodies.empty());
}

TEST_F(MessageReaderTest, OfAnAnswerWhatIsNotWholeIsAskedForAgain) {
  Frames frames;
  frames.add(fetched(6));
  frames.begin(0, 100).data(sample_body(100)).end(0);
  frames.add(BodyHead{.index = 1, .state = State::kNone});
  frames.add(BodyHead{.index = 2, .state = State::kLater});
  frames.begin(3, 100).data(sample_body(40)).end(3, false);
  frames.begin(4, 100).data(sample_body(100)).end(4, false);
  const Outcome got = read_fetched(frames);
  const auto& bodies = got.response<Fetched>().bodies;
  ASSERT_EQ(bodies.size(), 6U);
  EXPECT_EQ(content_of(bodies[0].value().get()), sample_body(100));
  EXPECT_EQ(bodies[1], std::optional<std::shared_ptr<repl::Body>>(nullptr));
  for (std::size_t i = 2; i < 6; i++) {
    EXPECT_FALSE(bodies[i]) << i;
  }
}

TEST_F(MessageReaderTest, OfAnAnswerThatIsCutOffWhatCameIsGood) {
  const Buffer large = sample_body(100);
  Frames frames;
  frames.add(fetched(3)).begin(0, 9).data(sample_body(9)).end(0);
  frames.add(BodyHead{.index = 2, .state = State::kHere, .size = 100, .number = 77});
  frames.data(Buffer(large.begin(), large.begin() + 40));
  MessageReader reader(Side::kResponse, Kind::kFetch, store());
  ASSERT_TRUE(reader.feed(frames.bytes()));
  std::optional<MessageReader::Begun> begun = reader.take_begun();
  ASSERT_TRUE(begun);
  EXPECT_EQ(begun->index, 2U);
  EXPECT_EQ(begun->number, 77U);
  EXPECT_EQ(begun->body.size(), 40U);
  const std::optional<Fetched> came = reader.take_fetched();
  ASSERT_TRUE(came);
  EXPECT_EQ(content_of(came->bodies.at(0).value().get()), sample_body(9));
  EXPECT_FALSE(came->bodies.at(1));
  EXPECT_FALSE(came->bodies.at(2));
  // And then the rest.
  begun_.emplace(std::move(begun->body));
  frames = Frames();
  frames.add(fetched(1));
  frames.add(BodyHead{.index = 0, .state = State::kRest, .size = 100, .number = 77});
  frames.data(Buffer(large.begin() + 40, large.end())).end(0);
  MessageReader again(Side::kResponse, Kind::kFetch, store());
  ASSERT_TRUE(again.feed(frames.bytes())) << again.why();
  const auto message = again.finish();
  ASSERT_TRUE(message) << again.why();
  EXPECT_EQ(content_of(std::get<Fetched>(std::get<Response>(*message)).bodies[0].value().get()),
            large);
}

TEST_F(MessageReaderTest, OfWhatIsCutOffOnlyABodyThatCanBeAskedForIsKept) {
  for (const std::uint64_t number : {0U, 77U}) {
    for (const std::size_t size : {std::size_t{0}, std::size_t{5}}) {
      Frames frames;
      frames.add(fetched(1));
      frames.add(BodyHead{.index = 0, .state = State::kHere, .size = 100, .number = number});
      frames.data(sample_body(size));
      MessageReader reader(Side::kResponse, Kind::kFetch, store());
      ASSERT_TRUE(reader.feed(frames.bytes()));
      EXPECT_EQ(reader.take_begun().has_value(), number != 0 && size != 0);
    }
  }
  MessageReader junk(Side::kResponse, Kind::kFetch, store());
  ASSERT_FALSE(junk.feed(Frames().add(fetched(1)).begin(0, 5).raw(99).bytes()));
  EXPECT_FALSE(junk.take_begun());
  EXPECT_FALSE(junk.take_fetched());
}

TEST_F(MessageReaderTest, ARestNeedsItsBeginning) {
  const BodyHead rest{.index = 0, .state = State::kRest, .size = 3, .number = 77};
  const std::string why = "the rest of a body that did not begin";
  EXPECT_EQ(read_fetched(Frames().add(fetched(1)).add(rest)).why, why);
  EXPECT_EQ(read_push(Frames().add(push(1)).add(rest)).why, why);
  begun_.emplace(stage_in(folder_));
  begun_->write(sample_body(4));
  MessageReader reader(Side::kResponse, Kind::kFetch, store());
  EXPECT_FALSE(reader.feed(Frames().add(fetched(1)).add(rest).bytes()));
  EXPECT_EQ(reader.why(), why);
}

TEST_F(MessageReaderTest, OfARequestABodyMustBeWhole) {
  EXPECT_EQ(read_push(Frames().add(push(1)).begin(0, 9).data(sample_body(9)).end(0, false)).why,
            "a body that is not whole");
  EXPECT_EQ(read_push(Frames().add(push(1)).add(BodyHead{.index = 0, .state = State::kLater})).why,
            "a body that is not there yet");
}

TEST_F(MessageReaderTest, WhatWasNotUploadedIsRefused) {
  uploads_[77] = body_of(sample_body(500));
  const auto why = [this](const Request& request, std::uint64_t number, std::uint64_t size) {
    return read_push(Frames().add(request).add(BodyHead{
                         .index = 0, .state = State::kUploaded, .size = size, .number = number}))
        .why;
  };
  EXPECT_EQ(why(push(1), 77, 500), "");
  EXPECT_EQ(why(push(1), 78, 500), "no body of 500 bytes was uploaded under number 78");
  EXPECT_EQ(why(push(1), 77, 501), "no body of 501 bytes was uploaded under number 77");
  Request other = push(1);
  std::get<Push>(other).replica = kml::Uuid{9};
  EXPECT_EQ(why(other, 77, 500), "no body of 500 bytes was uploaded under number 77");
  // Nothing is uploaded to a client.
  EXPECT_EQ(read_fetched(Frames()
                             .add(fetched(1))
                             .add(BodyHead{
                                 .index = 0, .state = State::kUploaded, .size = 500, .number = 77}))
                .why,
            "no body of 500 bytes was uploaded under number 77");
}

TEST_F(MessageReaderTest, AHeadComesFirstAndOnce) {
  const std::string why = "a head is not where it must be";
  EXPECT_EQ(read_push(Frames().add(push(1)).add(push(1))).why, why);
  EXPECT_EQ(read_push(Frames().raw(Part::kRecords, encoded(records(1))).add(push(1))).why, why);
  EXPECT_EQ(read_push(Frames().begin(0, 1)).why, why);
  EXPECT_EQ(read_push(Frames().add(push(1)).begin(0, 1).add(push(1))).why, why);
  EXPECT_EQ(read_push(Frames()).why, "it is cut off");
}

TEST_F(MessageReaderTest, BodiesFollowTheirOrder) {
  const auto why = [this](const Frames& frames) { return read_push(frames).why; };
  const Buffer nine = sample_body(9);
  EXPECT_EQ(why(Frames().add(push(2)).data(nine)), "more bytes of a body than it has");
  EXPECT_EQ(why(Frames().add(push(2)).begin(0, 8).data(nine)), "more bytes of a body than it has");
  EXPECT_EQ(why(Frames().add(push(2)).begin(0, 17).data(nine).data(nine)),
            "more bytes of a body than it has");
  EXPECT_EQ(why(Frames().add(push(2)).begin(0, 9).data(nine).end(0).data(nine)),
            "more bytes of a body than it has");
  EXPECT_EQ(why(Frames().add(push(2)).begin(0, 9).begin(1, 9)), "a body does not end");
  EXPECT_EQ(why(Frames().add(push(2)).begin(0, 9).raw(Part::kRecords)), "a body does not end");
  EXPECT_EQ(why(Frames().add(push(2)).begin(0, 9).raw(Part::kNames)), "a body does not end");
  EXPECT_EQ(why(Frames().add(push(2)).begin(0, 9).data(nine).end(1)), "the end of another body");
  EXPECT_EQ(why(Frames().add(push(2)).begin(0, 10).data(nine).end(0)), "the end of another body");
  EXPECT_EQ(why(Frames().add(push(2)).end(0)), "the end of another body");
  EXPECT_EQ(why(Frames().add(push(2)).begin(0, 9).data(nine).end(0).end(0)),
            "the end of another body");
  EXPECT_EQ(why(Frames().add(push(2)).begin(0, 9).data(nine)), "it is cut off");
}

TEST_F(MessageReaderTest, BodiesAreTheListsOnly) {
  const BodyHead none{.index = 2, .state = State::kNone};
  EXPECT_EQ(read_push(Frames().add(push(2)).add(none)).why, "body number 2 of 2");
  EXPECT_EQ(read_push(Frames().add(push(2)).begin(0xffffffff, 1)).why,
            "body number 4294967295 of 2");
  EXPECT_EQ(read_fetched(Frames().add(fetched(2)).add(none)).why, "body number 2 of 2");
  const Response refusal = Refusal{.why = "you"};
  EXPECT_EQ(read_fetched(Frames().add(refusal).begin(0, 1)).why, "body number 0 of 0");
  const Request pull = Pull{.replica = kClient};
  EXPECT_EQ(read(Side::kRequest, Kind::kPull, Frames().add(pull).begin(0, 1).bytes()).why,
            "body number 0 of 0");
  EXPECT_EQ(read(Side::kResponse, Kind::kPull, Frames().add(pulled(2)).begin(0, 1).bytes()).why,
            "body number 0 of 0");
}

TEST_F(MessageReaderTest, RecordsAndNamesStandWhereTheyBelong) {
  const Buffer some = encoded(records(1));
  const Frames late[] = {Frames().add(push(1)).begin(0, 0).end(0).raw(Part::kRecords, some),
                         Frames()
                             .add(push(1))
                             .add(BodyHead{.index = 0, .state = State::kNone})
                             .raw(Part::kRecords, some)};
  for (const Frames& frames : late) {
    // A body's number would mean another record.
    EXPECT_EQ(read_push(frames).why, "records where none may be");
  }
  const Request requests[] = {
      Hello{.replica = kClient}, Pull{.replica = kClient}, repl::List{}, repl::Fetch{}, push(1),
      repl::Describe{}};
  for (const Request& request : requests) {
    const Kind kind = proto::kind_of(request);
    EXPECT_EQ(read(Side::kRequest, kind, Frames().add(request).raw(Part::kNames).bytes()).why,
              "names where none may be");
    EXPECT_EQ(
        read(Side::kRequest, kind, Frames().add(request).raw(Part::kRecords, some).bytes()).why,
        kind == Kind::kPush ? "" : "records where none may be");
  }
  const Response responses[] = {
      Welcome{.replica = kClient}, pulled(1), listed(), fetched(1), Pushed{}, repl::Described{}};
  for (std::size_t i = 0; i < std::size(responses); i++) {
    const auto kind = static_cast<Kind>(i);
    const auto why = [&](const Response& response, Part part, const Buffer& payload) {
      return read(Side::kResponse, kind, Frames().add(response).raw(part, payload).bytes()).why;
    };
    const bool has_records = kind == Kind::kPull || kind == Kind::kDescribe;
    EXPECT_EQ(why(responses[i], Part::kRecords, some),
              has_records ? "" : "records where none may be");
    EXPECT_EQ(why(responses[i], Part::kNames, {}),
              kind == Kind::kList ? "" : "names where none may be");
    EXPECT_EQ(why(Refusal{}, Part::kRecords, some), "records where none may be");
    EXPECT_EQ(why(Refusal{}, Part::kNames, {}), "names where none may be");
  }
}

TEST_F(MessageReaderTest, FramesThatAreNoneAreRefused) {
  for (const unsigned type : {0U, 7U, 255U}) {
    EXPECT_EQ(read_push(Frames().add(push(1)).raw(type)).why,
              "a frame of type " + std::to_string(type));
  }
  const Buffer junk = sample_body(3);
  EXPECT_EQ(read_push(Frames().raw(Part::kHead, junk)).why, "not a message of kind push");
  EXPECT_EQ(read_fetched(Frames().raw(Part::kHead, junk)).why,
            "not a message of kind answer to fetch");
  EXPECT_EQ(read_push(Frames().add(push(1)).raw(Part::kRecords, junk)).why, "a record is cut off");
  EXPECT_EQ(read_push(Frames().add(push(1)).raw(Part::kNames, junk)).why,
            "not a message of kind names");
  EXPECT_EQ(read_push(Frames().add(push(1)).raw(Part::kBody, junk)).why,
            "not a message of kind body");
  EXPECT_EQ(read_push(Frames().add(push(1)).begin(0, 1).raw(Part::kBodyEnd, junk)).why,
            "not a message of kind end of a body");
  Buffer changed = Frames().add(push(1)).bytes();
  changed.back() ^= std::byte{1};
  EXPECT_NE(read(Side::kRequest, Kind::kPush, changed).why, "");
}

TEST_F(MessageReaderTest, APushHasABoundedNumberOfRecords) {
  for (const std::size_t count : {kMostPushed, kMostPushed + 1}) {
    const Frames frames = Frames().add(push(0)).raw(Part::kRecords, encoded(records(count)));
    EXPECT_EQ(read_push(frames).why,
              count == kMostPushed ? "" : "more than 1024 records in one push");
  }
}

TEST_F(MessageReaderTest, MoreThanWasAskedForIsRefused) {
  // Before it has come: its head is enough.
  for (const Kind kind : {Kind::kHello, Kind::kPush}) {
    const std::uint64_t most = most_of_answer(kind);
    MessageReader reader(Side::kResponse, kind, store());
    EXPECT_FALSE(reader.feed(
        Bytes(Frames().raw(Part::kHead, Buffer(most + 1)).bytes()).first(proto::kFrameHead)));
    EXPECT_TRUE(reader.why().ends_with("more comes than was asked for")) << reader.why();
  }
}

TEST_F(MessageReaderTest, NoAnswerGoesOnWithoutEnd) {
  const Buffer record = large_record();
  Buffer some;
  for (unsigned i = 0; i < 16; i++) {
    some.insert(some.end(), record.begin(), record.end());
  }
  const Response names = Listed{
      .is_current = true,
      .at = {},
      .table = {},
      .entries = std::vector<Listed::Entry>(
          3680, {.name = {.dir = kml::kRootFid, .name = std::string(255, 'n')}, .fid = {1, 2, 3}})};
  // The head, and one frame of names.
  const Buffer whole_list = Frames().add(names).bytes();
  const Buffer listed_head = Frames().add(Response(Listed{.is_current = true})).bytes();
  const Buffer more_names(whole_list.begin() + static_cast<std::ptrdiff_t>(listed_head.size()),
                          whole_list.end());
  const Buffer more_records = Frames().raw(Part::kRecords, some).bytes();
  for (const auto& [kind, head, more] :
       {std::tuple(Kind::kPull, Frames().add(pulled(0)).bytes(), more_records),
        std::tuple(Kind::kDescribe, Frames().add(Response(repl::Described{})).bytes(),
                   more_records),
        std::tuple(Kind::kList, listed_head, more_names)}) {
    // What a client takes of the others is too much for a test.
    const std::uint64_t most = std::min(most_of_answer(kind), std::uint64_t{16} << 20);
    MessageReader reader = most == most_of_answer(kind)
                               ? MessageReader(Side::kResponse, kind, store())
                               : MessageReader(Side::kResponse, kind, store(), most);
    ASSERT_TRUE(reader.feed(head)) << reader.why();
    unsigned taken = 0;
    while (taken < 20 && reader.feed(more)) {
      taken++;
    }
    EXPECT_EQ(taken, 15U) << proto::name_of(kind);
    EXPECT_TRUE(reader.why().ends_with("more comes than was asked for")) << reader.why();
    EXPECT_FALSE(reader.finish());
  }
}

TEST_F(MessageReaderTest, WhatAServerHasToSayIsTaken) {
  const std::vector<kml::Uuid> table(UINT16_MAX, kClient);
  std::vector<kml::Record> much(8, std::get<kml::Record>(kml::decode(large_record())));
  const auto why = [this](Kind kind, const Response& response) {
    MessageReader reader(Side::kResponse, kind, store());
    reader.feed(Frames().add(response).bytes());
    reader.finish();
    return reader.why();
  };
  EXPECT_EQ(why(Kind::kHello, Welcome{.replica = kClient, .table = table}), "");
  EXPECT_EQ(why(Kind::kPush, Pushed{.accepted = {}, .stopped = std::string(UINT16_MAX, 'x')}), "");
  EXPECT_EQ(why(Kind::kPush, Refusal{.why = std::string(UINT16_MAX, 'x')}), "");
  EXPECT_EQ(why(Kind::kPull, Pulled{.records = much, .table = table}), "");
  // One object more than 4 MiB, and that with many attributes.
  much.resize(300, much.front());
  EXPECT_EQ(why(Kind::kDescribe, repl::Described{.table = table, .records = much}), "");
  EXPECT_EQ(why(Kind::kList, Listed{.is_current = true, .table = table}), "");
  const Frames frames = Frames().add(fetched(1)).begin(0, 5000).data(sample_body(5000)).end(0);
  EXPECT_EQ(read_fetched(frames).why, "");
}

TEST_F(MessageReaderTest, HolesInBodiesTakeNoRoom) {
  constexpr std::uint64_t kSize = (std::uint64_t{1} << 40) + 30;
  Frames frames;
  frames.add(fetched(2)).begin(0, kSize).data(sample_body(10)).add(Hole{kSize - 25});
  frames.data(sample_body(10)).add(Hole{2}).add(Hole{3}).end(0).begin(1, 7).add(Hole{7}).end(1);
  const Outcome got = read_fetched(frames);
  ASSERT_EQ(got.why, "");
  const auto& bodies = got.response<Fetched>().bodies;
  const auto& body = dynamic_cast<const BodyFile&>(**bodies[0]);
  ASSERT_EQ(body.size(), kSize);
  EXPECT_EQ(body.stretch(1 << 20, 100).begin, kSize - (kSize - 15) % 4096 - 15);
  Buffer end(20);
  body.read(kSize - 20, end);
  Buffer expected(20);
  std::ranges::copy(sample_body(10), expected.begin() + 5);
  EXPECT_EQ(end, expected);
  EXPECT_EQ(content_of(bodies[1]->get()), Buffer(7));
}

TEST_F(MessageReaderTest, HolesThatDoNotFitAreRefused) {
  const std::string why = "more bytes of a body than it has";
  const auto complaint = [this](const Frames& frames) { return read_fetched(frames).why; };
  EXPECT_EQ(complaint(Frames().add(fetched(1)).begin(0, 9).add(Hole{10})), why);
  EXPECT_EQ(complaint(Frames().add(fetched(1)).begin(0, 9).data(sample_body(5)).add(Hole{5})), why);
  EXPECT_EQ(complaint(Frames().add(fetched(1)).begin(0, 9).add(Hole{5}).data(sample_body(5))), why);
  EXPECT_EQ(complaint(Frames().add(fetched(1)).begin(0, 9).add(Hole{9}).add(Hole{1})), why);
  // Both together would begin anew.
  Frames two;
  two.add(fetched(1)).begin(0, proto::kLongestBody).add(Hole{proto::kLongestBody});
  EXPECT_EQ(complaint(two.add(Hole{proto::kLongestBody})), why);
  for (const std::uint64_t length : {std::uint64_t{0}, proto::kLongestBody + 1}) {
    EXPECT_EQ(complaint(Frames().add(fetched(1)).begin(0, 9).add(Hole{length})),
              "not a message of kind hole in a body");
  }
  EXPECT_EQ(complaint(Frames().add(fetched(1)).begin(0, 9).raw(Part::kHole, sample_body(7))),
            "not a message of kind hole in a body");
  // Where no body is.
  EXPECT_EQ(complaint(Frames().add(fetched(1)).add(Hole{1})), why);
  EXPECT_EQ(read_push(Frames().add(push(1)).add(Hole{1})).why, why);
  EXPECT_EQ(complaint(Frames().add(fetched(1)).begin(0, 0).end(0).add(Hole{1})), why);
  EXPECT_EQ(complaint(Frames().add(Hole{1})), "a head is not where it must be");
  EXPECT_EQ(complaint(Frames().add(fetched(1)).begin(0, 9).add(Hole{8}).end(0)),
            "the end of another body");
}

TEST_F(MessageReaderTest, ABodyThatNoFileCanHoldIsSaidToBeOne) {
  const LargestFile limit(std::uint64_t{2} << 30);
  constexpr std::uint64_t kSize = (std::uint64_t{2} << 30) + 1;
  Frames frames;
  frames.add(fetched(2)).begin(0, kSize).data(sample_body(10)).add(Hole{kSize - 10}).end(0);
  frames.begin(1, kSize - 1).add(Hole{kSize - 1}).end(1);
  const Outcome got = read_fetched(frames);
  ASSERT_EQ(got.why, "");
  const auto& bodies = got.response<Fetched>().bodies;
  EXPECT_FALSE((*bodies[0])->fits());
  EXPECT_TRUE((*bodies[1])->fits());
}

TEST_F(MessageReaderTest, WhatIsCutOffIsNoMessage) {
  Frames frames;
  frames.add(push(0)).raw(Part::kRecords, encoded(records(2))).begin(0, 300);
  const std::size_t in_body = frames.bytes().size();
  frames.data(sample_body(200)).data(sample_body(100)).end(0);
  const std::size_t behind_body = frames.bytes().size();
  frames.add(BodyHead{.index = 1, .state = State::kNone});
  for (std::size_t count = 0; count <= frames.bytes().size(); count++) {
    const Outcome got = read(Side::kRequest, Kind::kPush, Bytes(frames.bytes()).first(count));
    // Between two frames, and not in a body, it could be all: HTTP tells that.
    const bool whole =
        count != 0 && frames.is_end(count) && (count < in_body || count >= behind_body);
    EXPECT_EQ(got.message.has_value(), whole) << count;
    EXPECT_EQ(got.why, whole ? "" : "it is cut off") << count;
  }
}

TEST_F(MessageReaderTest, ABodyThatCannotBeStagedIsAnError) {
  MessageReader reader(
      Side::kResponse, Kind::kFetch,
      {.stage = []() -> StagedBody { throw SysError(ENOSPC, "open", "/mnt"); }, .uploaded = {}});
  const Frames frames = Frames().add(fetched(1)).begin(0, 5);
  EXPECT_THROW(reader.feed(frames.bytes()), SysError);
}

}  // namespace
}  // namespace izo::daemon
