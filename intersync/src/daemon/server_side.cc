// SPDX-License-Identifier: GPL-2.0
#include "daemon/server_side.h"

#include <exception>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "daemon/body_sender.h"
#include "daemon/loss_lines.h"
#include "daemon/request_path.h"
#include "daemon/wire_limits.h"
#include "kml/quoted.h"

namespace izo::daemon {

using http::Answer;
using http::Exchange;
using repl::Pull;
using repl::Request;
using repl::Response;

namespace {

http::Headers octets() {
  return {{"Content-Type", "application/octet-stream"}};
}

Answer problem(int status, const std::string& text) {
  const std::string line = text + "\n";
  const Bytes bytes = as_bytes(line);
  return {.status = status,
          .headers = {{"Content-Type", "text/plain; charset=utf-8"}},
          .body = std::vector<std::byte>(bytes.begin(), bytes.end())};
}

/// It sent something else than it asks for.
void refuse(Exchange& exchange, std::string_view asked, const std::string& why) {
  log::warning(exchange.request().address, " sent what is no ", asked, ": ", why);
  exchange.answer(problem(400, why));
}

/// Gives a client the bodies that it asked for, as fast as it takes them.
class Outflow : public std::enable_shared_from_this<Outflow> {
 public:
  /// `cut` gets the number of the body under way when the client goes away.
  Outflow(http::StreamWriter writer, BodySender::Bodies bodies, BodySender::OnUnread on_unread,
          std::function<void(std::uint64_t)> cut)
      : writer_(std::move(writer)),
        sender_(std::move(bodies), kZstdLevel, std::move(on_unread)),
        cut_(std::move(cut)) {}

  /// What waits for room waits no more when the client goes away.
  void start() {
    writer_.on_gone([weak = weak_from_this()] {
      if (const std::shared_ptr<Outflow> self = weak.lock()) {
        self->cut_(self->sender_.under_way());
        self->writer_.on_room({});
      }
    });
    go_on();
  }

 private:
  void go_on() {
    while (!writer_.gone()) {
      std::optional<std::vector<std::byte>> piece = sender_.next();
      if (!piece) {
        writer_.finish();
        return;
      }
      if (!writer_.write(*std::move(piece))) {
        writer_.on_room([self = shared_from_this()] { self->go_on(); });
        return;
      }
    }
  }

  http::StreamWriter writer_;
  BodySender sender_;
  std::function<void(std::uint64_t)> cut_;
};

}  // namespace

ServerSide::ServerSide(MainLoop& loop, const Clock& clock, Random& random, KernelReplica& replica,
                       std::string fileset, std::function<void()> followed)
    : loop_(loop),
      replica_(replica),
      fileset_(std::move(fileset)),
      followed_(std::move(followed)),
      uploads_(clock, [&replica] { return replica.new_body(); }),
      sendings_(clock, random) {
  forget_old();
}

void ServerSide::forget_old() {
  uploads_.forget_old();
  sendings_.forget_old();
  again_ = loop_.after(std::chrono::seconds(10), [this] { forget_old(); });
}

void ServerSide::handle(Exchange exchange) {
  const http::Incoming& request = exchange.request();
  log::debug(
      log::kHttp, request.address, " asks for ", [&] { return to_string(request.target); }, ", ",
      request.body.size(), " bytes");
  const Asked asked = asked_for(request.method, request.target.path, fileset_);
  if (const auto* not_here = std::get_if<NotHere>(&asked)) {
    exchange.answer(problem(404, not_here->why));
    return;
  }
  attempt(exchange, [&] {
    if (const auto* kind = std::get_if<proto::Kind>(&asked)) {
      answer_message(exchange, *kind);
    } else {
      answer_upload(exchange);
    }
  });
}

bool ServerSide::attempt(Exchange& exchange, const std::function<void()>& function) {
  try {
    function();
    return true;
  } catch (const std::exception& error) {
    // The tree is read anew, as it may not be what the engine took it for.
    engine_.reset();
    fail(exchange, error);
    return false;
  }
}

void ServerSide::complain(const std::exception& error) {
  if (failed_ != error.what()) {
    failed_ = error.what();
    log::error(failed_);
  }
}

void ServerSide::fail(Exchange& exchange, const std::exception& error) {
  complain(error);
  if (!exchange.answered()) {
    exchange.answer(problem(503, error.what()));
  }
}

void ServerSide::answer_upload(Exchange& exchange) {
  const auto decoded = proto::decode_upload(exchange.request().body);
  if (const auto* corrupt = std::get_if<proto::Corrupt>(&decoded)) {
    refuse(exchange, kUpload, corrupt->what);
    return;
  }
  const auto& upload = std::get<proto::Upload>(decoded);
  try {
    const proto::Uploaded uploaded{.here = uploads_.add(upload)};
    exchange.answer({.status = 200, .headers = octets(), .body = encode(uploaded)});
  } catch (const SysError& error) {
    // A body that finds no room: nothing has happened to the tree.
    fail(exchange, error);
  }
}

void ServerSide::answer_message(Exchange& exchange, proto::Kind kind) {
  MessageReader reader(MessageReader::Side::kRequest, kind,
                       {.stage = [this] { return replica_.new_body(); },
                        .uploaded = [this](const kml::Uuid& client, std::uint64_t number,
                                           std::uint64_t size) -> std::shared_ptr<repl::Body> {
                          return uploads_.whole(client, number, size);
                        }});
  std::optional<MessageReader::Message> message;
  try {
    if (reader.feed(exchange.request().body)) {
      message = reader.finish();
    }
  } catch (const SysError& error) {
    fail(exchange, error);
    return;
  }
  if (!message) {
    refuse(exchange, proto::name_of(kind), reader.why());
    return;
  }
  answer(exchange, std::get<Request>(*message));
}

Response ServerSide::decide(const Request& request) {
  if (!engine_) {
    engine_ = std::make_unique<repl::Server>(replica_, [this](const auto& losses) {
      for (const std::string& line : lines_of(losses, pushes_)) {
        log::notice(line);
      }
    });
  }
  if (const auto* push = std::get_if<repl::Push>(&request)) {
    pushes_ = "client " + kml::to_string(push->replica);
  }
  return engine_->answer(request);
}

void ServerSide::answer(Exchange& exchange, const Request& request) {
  if (const auto* pulled = std::get_if<Pull>(&request)) {
    pull(exchange, *pulled, false);
    return;
  }
  Response response = decide(request);
  if (const auto* hello = std::get_if<repl::Hello>(&request)) {
    const auto* refusal = std::get_if<repl::Refusal>(&response);
    told_.erase(hello->replica);
    log::info("client ", kml::to_string(hello->replica), " at ", exchange.request().address,
              refusal != nullptr ? " is refused: " + refusal->why : " is here");
    if (const auto* welcome = std::get_if<repl::Welcome>(&response)) {
      log::debug(log::kInfo, "of its log records up to ", welcome->accepted.recno, " are here");
    }
  }
  if (const auto* pushed = std::get_if<repl::Pushed>(&response)) {
    uploads_.forget(std::get<repl::Push>(request).replica, pushed->accepted.recno);
    failed_.clear();
    say_what_waits(std::get<repl::Push>(request).replica, pushed->stopped);
    log::debug(log::kReint, "records of ", exchange.request().address, " are applied up to ",
               pushed->accepted.recno,
               pushed->stopped.empty() ? std::string() : ", not further: " + pushed->stopped);
  }
  if (auto* fetched = std::get_if<repl::Fetched>(&response)) {
    send_bodies(exchange, std::get<repl::Fetch>(request), std::move(*fetched));
  } else {
    send(exchange, response);
  }
  // What was applied is in our log.
  log_grew();
}

void ServerSide::say_what_waits(const kml::Uuid& client, const std::string& why) {
  if (why.empty()) {
    stopped_.erase(client);
  } else if (std::string& said = stopped_[client]; said != why) {
    said = why;
    log::info("records of client ", kml::to_string(client), " wait: ", why);
  }
}

bool ServerSide::is_news(const Pull& pull, const Response& response) {
  const auto* pulled = std::get_if<repl::Pulled>(&response);
  if (pulled == nullptr || !pulled->records.empty()) {
    return true;
  }
  const auto told = told_.find(pull.replica);
  return pulled->digest && (told == told_.end() || told->second != pull.offset);
}

void ServerSide::pull(Exchange& exchange, const Pull& pull, bool now) {
  const Response response = decide(pull);
  if (!now && !is_news(pull, response)) {
    wait(std::move(exchange), pull);
    return;
  }
  const auto* pulled = std::get_if<repl::Pulled>(&response);
  if (pulled != nullptr && pulled->digest) {
    told_[pull.replica] = pull.offset;
  }
  send(exchange, response);
}

void ServerSide::wait(Exchange exchange, const Pull& pull) {
  const Place place =
      waiting_.insert(waiting_.end(), {.exchange = std::move(exchange), .pull = pull, .limit = {}});
  place->limit = loop_.after(kLongestPoll, [this, place] {
    Waiting ended = std::move(*place);
    end_wait(place);
    attempt(ended.exchange, [&] { this->pull(ended.exchange, ended.pull, true); });
  });
  place->exchange.on_gone([this, place] { end_wait(place); });
  followed_();
}

void ServerSide::end_wait(Place place) {
  waiting_.erase(place);
}

void ServerSide::log_grew() {
  // Whether or not anybody waits: a log that has ended is said at once.
  try {
    static_cast<void>(replica_.state());
  } catch (const std::exception& error) {
    complain(error);
  }
  for (Place place = waiting_.begin(); place != waiting_.end();) {
    const Place next = std::next(place);
    bool news = false;
    if (!attempt(place->exchange, [&] { news = is_news(place->pull, decide(place->pull)); })) {
      end_wait(place);
    } else if (news) {
      Waiting ended = std::move(*place);
      end_wait(place);
      ended.exchange.on_gone({});
      attempt(ended.exchange, [&] { pull(ended.exchange, ended.pull, true); });
    }
    place = next;
  }
}

void ServerSide::send(Exchange& exchange, const Response& response) {
  proto::MessageWriter writer(kZstdLevel);
  std::vector<std::byte> out;
  writer.add(out, response);
  exchange.answer({.status = 200, .headers = octets(), .body = std::move(out)});
}

void ServerSide::send_bodies(Exchange& exchange, const repl::Fetch& fetch, repl::Fetched fetched) {
  proto::MessageWriter writer(kZstdLevel);
  std::vector<std::byte> out;
  BodySender::Bodies bodies;
  writer.add(out, Response(fetched));
  for (std::size_t i = 0; i < fetched.bodies.size(); i++) {
    bodies.push_back({.body = std::move(fetched.bodies[i])});
    const auto body = std::dynamic_pointer_cast<BodyFile>(
        bodies.back().body.value_or(std::shared_ptr<repl::Body>()));
    const repl::Fetch::Item& item = fetch.items.at(i);
    if (!body) {
      continue;
    }
    if (item.offset <= body->size() && sendings_.is_of(item.number, *body)) {
      bodies.back().number = item.number;
      bodies.back().offset = item.offset;
    } else {
      bodies.back().number = sendings_.add(body);
    }
  }
  http::StreamWriter stream = exchange.stream(200, octets());
  stream.write(std::move(out));
  std::make_shared<Outflow>(
      std::move(stream), std::move(bodies),
      [this, fetch](std::size_t index, const SysError& error) {
        cannot_read(fetch.items.at(index).fid, error);
      },
      [this](std::uint64_t number) { sendings_.keep(number); })
      ->start();
}

void ServerSide::cannot_read(const kml::Fid& fid, const SysError& error) {
  if (!unread_.insert(fid).second) {
    return;
  }
  const repl::Object* object = engine_ ? engine_->index().find(fid) : nullptr;
  log::warning(
      "clients do not get the body of ", kml::to_string(fid), ", ",
      object != nullptr ? kml::quoted(object->names.front().name) : "which has no name now", ": ",
      error.what());
}

}  // namespace izo::daemon
