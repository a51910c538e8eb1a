// SPDX-License-Identifier: GPL-2.0
#include "http/server_core.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdarg>
#include <cstdio>
#include <utility>

#include "base/error.h"
#include "base/fs_at.h"
#include "base/log.h"
#include "http/listener.h"
#include "http/peer_certificate.h"
#include "http/response.h"

namespace izo::http {
namespace {

/// What a connection may have in memory: the head of a request, and pieces of answers on their way.
constexpr std::size_t kConnectionMemory = std::size_t{32} << 10;
constexpr std::size_t kMaxPem = std::size_t{1} << 20;

void log_line(void* /*unused*/, const char* format, va_list words) noexcept {
  if (!log::wants(log::kHttp)) {
    return;
  }
  std::array<char, 512> line{};
  std::vsnprintf(line.data(), line.size(), format, words);
  log::debug(log::kHttp, "libmicrohttpd: ", line.data());
}

/// The whole of a PEM file.
std::string read_pem(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  const UniqueFd folder =
      open_directory(slash == std::string::npos ? "." : path.substr(0, slash + 1));
  const std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  const std::optional<std::string> text = read_file(folder.get(), name, kMaxPem);
  if (!text) {
    throw SysError(ENOENT, "openat", path);
  }
  return *text;
}

MHD_Result add_header(void* list, MHD_ValueKind /*kind*/, const char* name,
                      const char* value) noexcept {
  auto* headers = static_cast<Headers*>(list);
  if (headers->size() >= kMaxHeadFields) {
    return MHD_NO;
  }
  headers->push_back({name, value != nullptr ? value : ""});
  return MHD_YES;
}

std::optional<std::size_t> parse_length(std::string_view text) {
  std::size_t value = 0;
  const char* end = std::to_address(text.end());
  const auto [stopped, error] = std::from_chars(std::to_address(text.begin()), end, value);
  return error == std::errc() && stopped == end ? std::optional(value) : std::nullopt;
}

gnutls_session_int* session_of(MHD_Connection* connection) {
  const MHD_ConnectionInfo* info =
      MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
  return info != nullptr ? static_cast<gnutls_session_int*>(info->tls_session) : nullptr;
}

int descriptor_of(MHD_Connection* connection) {
  const MHD_ConnectionInfo* info =
      MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
  return info != nullptr ? info->connect_fd : -1;
}

std::string address_of(MHD_Connection* connection) {
  const MHD_ConnectionInfo* info =
      MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
  return info != nullptr ? to_string(info->client_addr) : "";
}

}  // namespace

ServerCore::ServerCore(MainLoop& loop, const Server::Options& options, Server::Handler handler)
    : loop_(loop), options_(options), handler_(std::move(handler)) {}

void ServerCore::start(const Security& security) {
  UniqueFd socket = listen_on(options_.address, options_.port);
  port_ = port_of(socket.get());
  unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
  // MHD_OptionItem has no const; the texts are copied by it.
  std::string certificate;
  std::string key;
  std::string authority;
  std::vector<MHD_OptionItem> items;
  const auto add = [&](MHD_OPTION option, std::size_t value, void* pointer) {
    items.push_back({option, static_cast<std::intptr_t>(value), pointer});
  };
  if (const auto* tls = std::get_if<TlsConfig>(&security)) {
    flags |= MHD_USE_TLS;
    certificate = read_pem(tls->certificate);
    key = read_pem(tls->key);
    authority = read_pem(tls->authority);
    add(MHD_OPTION_HTTPS_MEM_CERT, 0, certificate.data());
    add(MHD_OPTION_HTTPS_MEM_KEY, 0, key.data());
    add(MHD_OPTION_HTTPS_MEM_TRUST, 0, authority.data());
    add(MHD_OPTION_HTTPS_PRIORITIES, 0, const_cast<char*>("NORMAL:-VERS-ALL:+VERS-TLS1.3"));
  }
  if (options_.threads > 1) {
    add(MHD_OPTION_THREAD_POOL_SIZE, options_.threads, nullptr);
  }
  add(MHD_OPTION_END, 0, nullptr);
  daemon_.reset(MHD_start_daemon(
      flags, 0, nullptr, nullptr, on_request, this,   //
      MHD_OPTION_EXTERNAL_LOGGER, log_line, nullptr,  // first, for what the others say
      MHD_OPTION_LISTEN_SOCKET, socket.get(),         //
      MHD_OPTION_URI_LOG_CALLBACK, on_target, this,   //
      MHD_OPTION_NOTIFY_COMPLETED, on_completed, this, MHD_OPTION_NOTIFY_CONNECTION, on_connection,
      this,  //
      MHD_OPTION_CONNECTION_LIMIT, options_.connections, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
      options_.connections_per_address, MHD_OPTION_CONNECTION_TIMEOUT,
      static_cast<unsigned>(options_.idle_limit.count()), MHD_OPTION_CONNECTION_MEMORY_LIMIT,
      kConnectionMemory, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_ARRAY, items.data(),
      MHD_OPTION_END));
  if (!daemon_) {
    throw Error(
        "libmicrohttpd cannot serve port " + std::to_string(port_) +
        (items.size() > 2 ? "; are certificate, key and authority PEM files that fit?" : ""));
  }
  static_cast<void>(socket.release());  // the daemon's, until it is taken back
}

void ServerCore::stop() {
  if (!daemon_) {
    return;
  }
  const UniqueFd socket(MHD_quiesce_daemon(daemon_.get()));
  std::unordered_set<ConversationPtr> left;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    left = conversations_;
  }
  for (const ConversationPtr& conversation : left) {
    // libmicrohttpd may not stop while a connection sleeps.
    loop_.contain([&] { conversation->cut(); });
  }
  daemon_.reset();
  late_.reset();
}

Server::Counters ServerCore::counters() const {
  return {.connections = connections_,
          .open = open_,
          .requests = requests_,
          .refused = refused_,
          .cut = cut_};
}

void ServerCore::on_connection(void* self, MHD_Connection* connection, void** /*unused*/,
                               MHD_ConnectionNotificationCode what) noexcept {
  auto* core = static_cast<ServerCore*>(self);
  core->loop_.contain([&] {
    if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
      core->limits_.close(connection);
      core->open_--;
      return;
    }
    core->connections_++;
    core->open_++;
    if (gnutls_session_int* session = session_of(connection); session != nullptr) {
      require_certificate(session);
    }
    core->limits_.open(connection, descriptor_of(connection),
                       std::chrono::steady_clock::now() + core->options_.head_limit);
    core->limit(connection, core->options_.head_limit);
  });
}

void ServerCore::limit(MHD_Connection* connection, std::optional<std::chrono::seconds> time) {
  if (!time) {
    limits_.set(connection, std::nullopt);
    return;
  }
  limits_.set(connection, std::chrono::steady_clock::now() + *time);
  if (!looking_.exchange(true)) {
    loop_.post([weak = weak_from_this()] {
      if (const std::shared_ptr<ServerCore> core = weak.lock()) {
        core->look_for_late();
      }
    });
  }
}

void ServerCore::look_for_late() {
  if (!daemon_) {
    return;
  }
  const auto now = std::chrono::steady_clock::now();
  // Before asking for the next: a limit that is set after that arms the timer itself.
  looking_ = false;
  cut_ += limits_.cut_late(now);
  const std::optional<ConnectionLimits::Time> next = limits_.next();
  if (!next || looking_.exchange(true)) {
    return;
  }
  // Not later than the shortest limit that may be set meanwhile.
  const auto delay = std::chrono::ceil<std::chrono::milliseconds>(
      std::min<ConnectionLimits::Time::duration>(*next - now, options_.head_limit));
  late_ = loop_.after(delay, [this] { look_for_late(); });
}

void* ServerCore::on_target(void* self, const char* target, MHD_Connection* connection) noexcept {
  auto* core = static_cast<ServerCore*>(self);
  void* made = nullptr;
  core->loop_.contain([&] {
    auto conversation =
        std::make_shared<Conversation>(core->loop_, connection, descriptor_of(connection), target);
    auto holder = std::make_unique<ConversationPtr>(conversation);
    const std::lock_guard lock(core->mutex_);
    core->conversations_.insert(std::move(conversation));
    made = holder.release();
  });
  return made;
}

void ServerCore::on_completed(void* self, MHD_Connection* connection, void** conversation,
                              MHD_RequestTerminationCode how) noexcept {
  auto* core = static_cast<ServerCore*>(self);
  const std::unique_ptr<ConversationPtr> holder(static_cast<ConversationPtr*>(*conversation));
  *conversation = nullptr;
  if (!holder) {
    return;
  }
  core->loop_.contain([&] {
    core->bodies_ -= std::exchange((*holder)->reserved, 0);
    (*holder)->end(how == MHD_REQUEST_TERMINATED_COMPLETED_OK);
    core->limit(connection, core->options_.idle_limit);
    const std::lock_guard lock(core->mutex_);
    core->conversations_.erase(*holder);
  });
}

MHD_Result ServerCore::on_request(void* self, MHD_Connection* connection, const char* /*url*/,
                                  const char* method, const char* version, const char* data,
                                  std::size_t* size, void** conversation) noexcept {
  auto* core = static_cast<ServerCore*>(self);
  auto* holder = static_cast<ConversationPtr*>(*conversation);
  if (holder == nullptr) {
    return MHD_NO;
  }
  MHD_Result result = MHD_NO;
  core->loop_.contain(
      [&] { result = core->take(*holder, connection, method, version, as_bytes({data, *size})); });
  if ((*holder)->stage == Conversation::Stage::kBody) {
    *size = 0;  // taken
  }
  return result;
}

MHD_Result ServerCore::take(const ConversationPtr& conversation, MHD_Connection* connection,
                            const char* method, const char* version, Bytes data) {
  switch (conversation->stage) {
    case Conversation::Stage::kHead:
      return take_head(*conversation, connection, method, version);
    case Conversation::Stage::kBody:
      if (data.empty()) {
        return ask(conversation, connection);
      }
      if (data.size() > conversation->reserved - conversation->incoming.body.size()) {
        return MHD_NO;  // more than its Content-Length
      }
      conversation->incoming.body.insert(conversation->incoming.body.end(), data.begin(),
                                         data.end());
      return MHD_YES;
    case Conversation::Stage::kAsked: {
      std::optional<Conversation::Reply> reply = conversation->take_reply();
      return reply ? send(conversation, connection, *std::move(reply)) : MHD_NO;
    }
    case Conversation::Stage::kAnswered:
      return MHD_NO;
  }
  return MHD_NO;
}

MHD_Result ServerCore::take_head(Conversation& conversation, MHD_Connection* connection,
                                 const char* method, const char* version) {
  if (const int status = judge(conversation, connection, method, version); status != 0) {
    return refuse(conversation, connection, status);
  }
  conversation.stage = Conversation::Stage::kBody;
  limit(connection, options_.body_limit);
  return MHD_YES;
}

int ServerCore::judge(Conversation& conversation, MHD_Connection* connection, const char* method,
                      const char* version) {
  Incoming& incoming = conversation.incoming;
  if (std::string_view(version) != "HTTP/1.1") {
    return MHD_HTTP_HTTP_VERSION_NOT_SUPPORTED;
  }
  if (std::string_view(method) == "POST") {
    incoming.method = Method::kPost;
  } else if (std::string_view(method) != "GET") {
    return MHD_HTTP_METHOD_NOT_ALLOWED;
  }
  std::optional<Target> target = parse_target(conversation.target());
  if (!target) {
    return MHD_HTTP_BAD_REQUEST;
  }
  incoming.target = *std::move(target);
  MHD_get_connection_values(connection, MHD_HEADER_KIND, add_header, &incoming.headers);
  if (incoming.headers.size() >= kMaxHeadFields) {
    return MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE;
  }
  incoming.address = address_of(connection);
  if (gnutls_session_int* session = session_of(connection); session != nullptr) {
    incoming.key = key_of_peer(session);
    if (!incoming.key) {
      return MHD_HTTP_FORBIDDEN;
    }
  }
  return judge_body(conversation);
}

int ServerCore::judge_body(Conversation& conversation) {
  const Headers& headers = conversation.incoming.headers;
  const auto lengths = std::count_if(headers.begin(), headers.end(), [](const Header& header) {
    return find({header}, MHD_HTTP_HEADER_CONTENT_LENGTH) != nullptr;
  });
  // Two lengths, or a length and chunks, are how requests are smuggled past proxies.
  if (lengths > 1) {
    return MHD_HTTP_BAD_REQUEST;
  }
  if (find(headers, MHD_HTTP_HEADER_TRANSFER_ENCODING) != nullptr) {
    return MHD_HTTP_LENGTH_REQUIRED;
  }
  const std::string* text = find(headers, MHD_HTTP_HEADER_CONTENT_LENGTH);
  if (text == nullptr) {
    return 0;
  }
  const std::optional<std::size_t> length = parse_length(*text);
  if (!length || (conversation.incoming.method == Method::kGet && *length != 0)) {
    return MHD_HTTP_BAD_REQUEST;
  }
  if (*length > kMaxRequestBody) {
    return MHD_HTTP_CONTENT_TOO_LARGE;
  }
  const std::size_t before = bodies_.fetch_add(*length);
  conversation.reserved = *length;
  if (before + *length > options_.bodies) {
    return MHD_HTTP_SERVICE_UNAVAILABLE;
  }
  return 0;
}

MHD_Result ServerCore::refuse(Conversation& conversation, MHD_Connection* connection, int status) {
  conversation.stage = Conversation::Stage::kAnswered;
  refused_++;
  log::debug(
      log::kHttp, "request of ", [&] { return address_of(connection); }, " refused with status ",
      status);
  const Response response = make_response(Answer{.status = status});
  return queue(connection, status, response.get());
}

MHD_Result ServerCore::ask(const ConversationPtr& conversation, MHD_Connection* connection) {
  limit(connection, std::nullopt);
  {
    // stop() cuts whatever is in the set when it sets the flag, and nothing sleeps after that.
    const std::lock_guard lock(mutex_);
    conversation->stage = Conversation::Stage::kAsked;
    if (stopping_ || !conversation->sleep()) {
      return MHD_NO;
    }
  }
  requests_++;
  loop_.post([weak = weak_from_this(), conversation] {
    const std::shared_ptr<ServerCore> core = weak.lock();
    if (core && !conversation->gone()) {
      conversation->watch();
      core->handler_(Exchange(conversation));
    }
  });
  return MHD_YES;
}

MHD_Result ServerCore::send(const ConversationPtr& conversation, MHD_Connection* connection,
                            Conversation::Reply reply) {
  conversation->stage = Conversation::Stage::kAnswered;
  if (auto* answer = std::get_if<Answer>(&reply)) {
    const int status = answer->status;
    const Response response = make_response(std::move(*answer));
    return queue(connection, status, response.get());
  }
  const auto& streamed = std::get<Conversation::Streamed>(reply);
  const Response response = make_streamed_response(streamed.headers, conversation);
  return queue(connection, streamed.status, response.get());
}

}  // namespace izo::http
