// SPDX-License-Identifier: GPL-2.0
#include "daemon/client_side.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "daemon/loss_lines.h"
#include "daemon/request_path.h"
#include "daemon/wire_limits.h"
#include "http/target.h"

namespace izo::daemon {

using proto::BodyEnd;
using proto::BodyHead;
using repl::Fetch;
using repl::Pull;
using repl::Push;
using repl::Request;

namespace {

/// How long something that cannot be now is left alone.
constexpr std::chrono::milliseconds kAgain{1000};
/// A server that has news to give answers within this time and the longest poll.
constexpr std::chrono::milliseconds kPatience{30000};
/// The most that is kept of what a server says instead of an answer.
constexpr std::size_t kLongestProblem = 1000;

const BodyFile* file_of(const std::shared_ptr<repl::Body>& body) {
  return dynamic_cast<const BodyFile*>(body.get());
}

std::string first_line(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

}  // namespace

ClientSide::ClientSide(MainLoop& loop, Random& random, KernelReplica& replica, http::Client& http,
                       std::string fileset, std::function<void()> followed)
    : loop_(loop),
      random_(random),
      replica_(replica),
      http_(http),
      fileset_(std::move(fileset)),
      followed_(std::move(followed)) {}

std::string ClientSide::target(const std::string& what) const {
  return to_string(http::Target{.path = path_to(fileset_, what), .query = {}});
}

void ClientSide::step() {
  // What is being waited for after a failure comes by the timer.
  if (stepping_ || retry_.active()) {
    return;
  }
  stepping_ = true;
  try {
    if (!engine_) {
      engine_ = std::make_unique<repl::Client>(replica_, [](const auto& losses) {
        for (const std::string& line : lines_of(losses, "the server")) {
          log::notice(line);
        }
      });
    }
    while (!retry_.active()) {
      std::optional<Request> request = engine_->next();
      if (!request) {
        break;
      }
      send(*std::move(request));
    }
    stepping_ = false;
    say_what_is_copied();
    say_what_is_waited_for();
  } catch (const std::exception& error) {
    stepping_ = false;
    forget_engine();
    fail_for_longer(error.what(), {});
  }
}

void ClientSide::forget_engine() {
  engine_.reset();
  uploads_.clear();
  begun_.clear();
}

void ClientSide::say_what_is_copied() {
  if (!connected_) {
    return;
  }
  const auto copied = engine_->copied();
  if (!copied) {
    if (copied_tenths_) {
      log::info("the copy of the server's tree is whole");
    }
    copied_tenths_.reset();
    return;
  }
  const auto [done, all] = *copied;
  if (all == 0) {
    return;
  }
  if (!copied_tenths_) {
    log::info("copies the server's tree, ", all, " names");
  }
  const std::size_t tenths = done * 10 / all;
  if (copied_tenths_ && tenths > *copied_tenths_) {
    log::info("has copied ", done, " of ", all, " names");
  }
  copied_tenths_ = tenths;
}

void ClientSide::say_what_is_waited_for() {
  if (engine_->waiting() != waiting_) {
    waiting_ = engine_->waiting();
    log::info(waiting_.empty() ? "nothing is waited for any more" : "waiting: " + waiting_);
  }
  // Not everything that ends a wait is in a log.
  if (waiting_.empty()) {
    again_.reset();
  } else if (!again_.active()) {
    again_ = loop_.after(kAgain, [this] { try_again(); });
  }
}

void ClientSide::try_again() {
  again_.reset();
  if (engine_) {
    engine_->try_again();
  }
  step();
}

void ClientSide::retry_after(std::chrono::milliseconds delay) {
  retry_ = loop_.after(delay, [this] {
    retry_.reset();
    step();
  });
}

void ClientSide::fail(const std::string& why) {
  begin_anew(why, backoff_, failed_);
}

void ClientSide::fail_for_longer(const std::string& why, std::optional<proto::Kind> request) {
  troubled_ = request;
  begin_anew(why, longer_, trouble_);
}

void ClientSide::begin_anew(const std::string& why, Backoff& backoff, std::string& said) {
  if (other_ && other_->status == 200 && other_->failure.empty() && other_->reader->why().empty()) {
    // Of two connections that end together either may be the first to be noticed.
    try {
      keep_what_came(*other_);
    } catch (const std::exception&) {
      forget_engine();
    }
  }
  pull_.reset();
  other_.reset();
  pushing_.reset();
  connected_ = false;
  if (engine_) {
    engine_->on_failure();
  }
  const std::chrono::milliseconds delay = backoff.next(random_);
  if (why != said) {
    said = why;
    log::warning(why, "; trying again, the next time in ", delay.count(), " ms");
  }
  retry_after(delay);
}

void ClientSide::send(Request request) {
  if (auto* records = std::get_if<Push>(&request)) {
    push(std::move(*records));
    return;
  }
  if (auto* fetch = std::get_if<Fetch>(&request)) {
    for (Fetch::Item& item : fetch->items) {
      if (const auto begun = begun_.find({item.fid, item.recno}); begun != begun_.end()) {
        item.number = begun->second.number;
        item.offset = begun->second.body.size();
      }
    }
  }
  proto::MessageWriter writer(kZstdLevel);
  std::vector<std::byte> bytes;
  writer.add(bytes, request);
  send_bytes(std::move(request), std::move(bytes));
}

std::optional<StagedBody> ClientSide::begun(const Request& request, std::uint32_t index,
                                            std::uint64_t number) {
  const auto* fetch = std::get_if<Fetch>(&request);
  if (fetch == nullptr || index >= fetch->items.size()) {
    return std::nullopt;
  }
  const Fetch::Item& item = fetch->items[index];
  const auto found = begun_.find({item.fid, item.recno});
  if (found == begun_.end() || found->second.number != number) {
    return std::nullopt;
  }
  std::optional<StagedBody> out(std::move(found->second.body));
  begun_.erase(found);
  return out;
}

void ClientSide::keep_what_came(const Exchange& exchange) {
  const auto* fetch = std::get_if<Fetch>(&exchange.request);
  if (fetch == nullptr || !engine_) {
    return;
  }
  if (std::optional<MessageReader::Begun> begun = exchange.reader->take_begun()) {
    const Fetch::Item& item = fetch->items.at(begun->index);
    begun_.insert_or_assign({item.fid, item.recno},
                            Part{.number = begun->number, .body = std::move(begun->body)});
  }
  std::optional<repl::Fetched> came = exchange.reader->take_fetched();
  // That the link was cut before any came is not the server's answer.
  if (came && std::any_of(came->bodies.begin(), came->bodies.end(),
                          [](const auto& body) { return body.has_value(); })) {
    engine_->on(exchange.request, *std::move(came));
  }
}

void ClientSide::send_bytes(Request request, std::vector<std::byte> bytes) {
  const proto::Kind kind = proto::kind_of(request);
  const bool polls = kind == proto::Kind::kPull;
  auto exchange = std::make_shared<Exchange>();
  exchange->request = std::move(request);
  exchange->reader = std::make_unique<MessageReader>(
      MessageReader::Side::kResponse, kind,
      BodyStore{.stage = [this] { return replica_.new_body(); },
                .uploaded = {},
                .begun = [this, it = exchange.get()](
                             std::uint32_t index,
                             std::uint64_t number) { return begun(it->request, index, number); }});
  (polls ? pull_ : other_) = exchange;
  http::Receiver receiver;
  receiver.head = [it = exchange.get()](const http::AnswerHead& head) {
    it->status = head.status;
    return true;
  };
  receiver.data = [it = exchange.get()](Bytes piece) {
    if (it->status != 200) {
      it->problem += as_text(piece);
      return it->problem.size() <= kLongestProblem;
    }
    try {
      return it->reader->feed(piece);
    } catch (const std::exception& error) {
      it->failure = error.what();
      return false;
    }
  };
  receiver.done = [this, weak = std::weak_ptr(exchange)](const http::Outcome& outcome) {
    if (const std::shared_ptr<Exchange> same = weak.lock()) {
      take(same, outcome);
    }
  };
  exchange->transfer = http_.start({.method = http::Method::kPost,
                                    .target = target(std::string(proto::name_of(kind))),
                                    .headers = {{"Content-Type", "application/octet-stream"}},
                                    .body = std::move(bytes),
                                    .longest_answer = most_of_answer(kind) + kMostOfHeads,
                                    .patience = polls ? kPatience + kLongestPoll : kPatience},
                                   std::move(receiver));
}

std::string ClientSide::why_failed(const Exchange& exchange, const http::Outcome& outcome) {
  if (!exchange.failure.empty()) {
    return exchange.failure;
  }
  if (exchange.status != 200 && exchange.status != 0) {
    return "the server answers with status " + std::to_string(exchange.status) + ": " +
           first_line(exchange.problem);
  }
  if (!exchange.reader->why().empty()) {
    return "the server's answer is none: " + exchange.reader->why();
  }
  return outcome.how != http::Outcome::How::kComplete ? outcome.error : std::string();
}

void ClientSide::take(const std::shared_ptr<Exchange>& exchange, const http::Outcome& outcome) {
  (std::holds_alternative<Pull>(exchange->request) ? pull_ : other_).reset();
  if (std::holds_alternative<Push>(exchange->request)) {
    pushing_.reset();
  }
  const bool is_lost = exchange->failure.empty() && exchange->reader->why().empty() &&
                       (exchange->status == 200 || exchange->status == 0) &&
                       outcome.how != http::Outcome::How::kComplete;
  std::string why = why_failed(*exchange, outcome);
  std::optional<MessageReader::Message> message;
  if (why.empty()) {
    message = exchange->reader->finish();
    why = exchange->reader->why();
  }
  if (message) {
    take_response(*exchange, std::get<repl::Response>(*std::move(message)));
  } else {
    take_failure(*exchange, is_lost, std::move(why));
  }
}

void ClientSide::take_failure(const Exchange& exchange, bool is_lost, std::string why) {
  if (exchange.status != 0 && std::holds_alternative<Push>(exchange.request)) {
    // Perhaps it has forgotten what was uploaded.
    uploads_.clear();
  }
  if (!is_lost) {
    fail_for_longer(why, proto::kind_of(exchange.request));
    return;
  }
  try {
    keep_what_came(exchange);
  } catch (const std::exception& error) {
    forget_engine();
    why = error.what();
  }
  fail(why);
}

void ClientSide::take_response(const Exchange& exchange, repl::Response response) {
  const proto::Kind kind = proto::kind_of(exchange.request);
  if (std::holds_alternative<Fetch>(exchange.request)) {
    begun_.clear();
  }
  if (const auto* pushed = std::get_if<repl::Pushed>(&response)) {
    uploads_.erase(uploads_.begin(), uploads_.upper_bound(pushed->accepted.recno));
  }
  if (const auto* welcome = std::get_if<repl::Welcome>(&response)) {
    log::debug(
        log::kInfo, "the server is ", [&] { return kml::to_string(welcome->replica); },
        ", its log begins with record ", welcome->first_recno, "; of ours it has records up to ",
        welcome->accepted.recno);
  }
  try {
    engine_->on(exchange.request, std::move(response));
  } catch (const std::exception& error) {
    forget_engine();
    fail_for_longer(error.what(), kind);
    return;
  }
  if (std::holds_alternative<repl::Hello>(exchange.request)) {
    log::info("connected to the server");
    connected_ = true;
    failed_.clear();
    followed_();
  }
  backoff_.reset();
  step();
  if (!retry_.active() && engine_ && (troubled_ == kind || !engine_->is_behind())) {
    longer_.reset();
    trouble_.clear();
  }
}

void ClientSide::push(Push push) {
  pushing_ = std::make_unique<Pushing>();
  pushing_->push = std::move(push);
  pushing_->uploads.resize(pushing_->push.records.size());
  pushing_->push.bodies.resize(pushing_->push.records.size());
  go_on_pushing();
}

void ClientSide::go_on_pushing() {
  Pushing& it = *pushing_;
  for (; it.at < it.push.records.size(); it.at++) {
    const BodyFile* body = file_of(it.push.bodies[it.at]);
    if (body == nullptr || it.uploads[it.at] != 0) {
      continue;
    }
    if (it.bodies + body->size() <= kMostBodies) {
      it.bodies += body->size();
      continue;
    }
    begin_upload(*body);
    return;
  }
  send_records();
}

void ClientSide::begin_upload(const BodyFile& body) {
  Pushing& it = *pushing_;
  const auto found = uploads_.find(it.push.records[it.at].recno);
  const BodyFile* earlier = found != uploads_.end() ? file_of(found->second.body) : nullptr;
  it.resumes = earlier != nullptr && body.is_same_as(*earlier);
  it.version = it.resumes ? found->second.version : random_.number();
  it.offset = it.resumes ? found->second.offset : 0;
  upload(body);
}

void ClientSide::upload(const BodyFile& body) {
  Pushing& it = *pushing_;
  const auto [begin, end] = body.stretch(it.offset, kUploadPiece);
  // The number that the record has in our log: nobody else's of ours.
  proto::Upload upload{.client = it.push.replica,
                       .number = it.push.records[it.at].recno,
                       .version = it.version,
                       .size = body.size(),
                       .offset = it.offset,
                       .hole = begin - it.offset,
                       .piece = {}};
  upload.piece.resize(end - begin);
  body.read(begin, upload.piece);
  it.answer.clear();
  http::Receiver receiver;
  receiver.data = [this](Bytes bytes) {
    pushing_->answer += as_text(bytes);
    return pushing_->answer.size() <= kLongestProblem;
  };
  receiver.done = [this](const http::Outcome& outcome) { on_uploaded(outcome); };
  it.transfer = http_.start({.method = http::Method::kPost,
                             .target = target(kUpload),
                             .headers = {{"Content-Type", "application/octet-stream"}},
                             .body = encode(upload, kZstdLevel),
                             .longest_answer = kLongestProblem,
                             .patience = kPatience},
                            std::move(receiver));
}

void ClientSide::on_uploaded(const http::Outcome& outcome) {
  Pushing& it = *pushing_;
  if (outcome.how != http::Outcome::How::kComplete) {
    fail(outcome.error);
    return;
  }
  if (outcome.head.status != 200) {
    fail_for_longer("the server answers an upload with status " +
                        std::to_string(outcome.head.status) + ": " + first_line(it.answer),
                    proto::Kind::kPush);
    return;
  }
  const auto decoded = proto::decode_uploaded(as_bytes(it.answer));
  if (const auto* corrupt = std::get_if<proto::Corrupt>(&decoded)) {
    fail_for_longer("the server's answer to an upload is none: " + corrupt->what,
                    proto::Kind::kPush);
    return;
  }
  const std::uint64_t here = std::get<proto::Uploaded>(decoded).here;
  const BodyFile& body = *file_of(it.push.bodies[it.at]);
  if (here > body.size() || (here <= it.offset && !std::exchange(it.resumes, false))) {
    // An empty body is never uploaded, so something more must be there now.
    fail("the server has lost a body that was being uploaded");
    return;
  }
  try {
    it.resumes = false;
    it.offset = here;
    uploads_[it.push.records[it.at].recno] = {
        .body = it.push.bodies[it.at], .version = it.version, .offset = here};
    if (here == body.size()) {
      it.uploads[it.at] = it.push.records[it.at].recno;
    } else if (body.is_wanted()) {
      upload(body);
      return;
    } else {
      give_up_upload();
    }
    it.at++;
    go_on_pushing();
  } catch (const std::exception& error) {
    fail_for_longer(error.what(), proto::Kind::kPush);
  }
}

void ClientSide::give_up_upload() {
  // Its record goes without it only if a later one that removes it cannot be taken back.
  replica_.commit();
  uploads_.erase(pushing_->push.records[pushing_->at].recno);
  pushing_->push.bodies[pushing_->at].reset();
}

void ClientSide::send_records() {
  Pushing& it = *pushing_;
  proto::MessageWriter writer(kZstdLevel);
  std::vector<std::byte> bytes;
  // Up to the first body that changed meanwhile.
  std::size_t good = 0;
  while (good < it.push.records.size()) {
    const BodyFile* body = file_of(it.push.bodies[good]);
    if (body != nullptr && !body->is_whole()) {
      break;
    }
    good++;
  }
  it.push.records.resize(good);
  if (good == 0) {
    fail("a file changes while it is sent");
    return;
  }
  const std::size_t count = writer.add(bytes, Request(it.push), kMostRecords);
  it.push.records.resize(count);
  it.push.bodies.resize(count);
  std::vector<std::byte> piece;
  for (std::size_t i = 0; i < count; i++) {
    const BodyFile* body = file_of(it.push.bodies[i]);
    const auto index = static_cast<std::uint32_t>(i);
    if (body == nullptr) {
      continue;
    }
    if (it.uploads[i] != 0) {
      writer.add(bytes, BodyHead{.index = index,
                                 .state = BodyHead::State::kUploaded,
                                 .size = body->size(),
                                 .number = it.uploads[i]});
      continue;
    }
    writer.add(bytes,
               BodyHead{.index = index, .state = BodyHead::State::kHere, .size = body->size()});
    for (std::uint64_t at = 0; at < body->size(); at += piece.size()) {
      piece.resize(std::min<std::uint64_t>(proto::kBodyPiece, body->size() - at));
      body->read(at, piece);
      writer.add_data(bytes, piece);
    }
    if (!body->is_whole()) {
      fail("a file changes while it is sent");
      return;
    }
    writer.add(bytes, BodyEnd{.index = index, .whole = true});
  }
  log::debug(log::kReint, "pushes ", count, " records up to ", it.push.records.back().recno);
  send_bytes(Request(it.push), std::move(bytes));
}

}  // namespace izo::daemon
