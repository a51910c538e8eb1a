// SPDX-License-Identifier: GPL-2.0
// The traps of libcurl's multi interface (7.88), each named where it is:
// - no handle is added or removed in a callback of curl: such work is kept for settle();
// - curl calls back while it is cleaned up: `closing_`;
// - a timer of -1 is none, one of 0 must not call curl at once;
// - curl_easy_pause() is not used: a receiver takes what comes or ends the request;
// - LOW_SPEED_TIME counts no silence before the first byte: each request has a timer of ours.
#include "http/client_core.h"

#include <algorithm>
#include <new>
#include <utility>

#include "base/error.h"
#include "base/log.h"

namespace izo::http {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

template <typename Value>
void set(CURL* easy, CURLoption option, Value value) {
  const CURLcode result = curl_easy_setopt(easy, option, value);
  if (result != CURLE_OK) {
    throw Error("curl_easy_setopt " + std::to_string(option) + ": " + curl_easy_strerror(result));
  }
}

Job& job_of(void* pointer) {
  return *static_cast<Job*>(pointer);
}

std::size_t on_header(char* data, std::size_t /*one*/, std::size_t size, void* pointer) noexcept {
  Job& job = job_of(pointer);
  bool wanted = false;
  job.loop->contain([&] { wanted = job.take_field({data, size}); });
  return wanted ? size : 0;
}

std::size_t on_body(char* data, std::size_t /*one*/, std::size_t size, void* pointer) noexcept {
  Job& job = job_of(pointer);
  bool wanted = false;
  job.loop->contain([&] { wanted = job.take_body(as_bytes({data, size})); });
  // An empty piece is a success of 0 bytes; the error code is for pieces of any size.
  return wanted ? size : std::size_t{CURL_WRITEFUNC_ERROR};
}

int on_progress(void* pointer, curl_off_t /*all*/, curl_off_t down, curl_off_t /*all*/,
                curl_off_t up) noexcept {
  Job& job = job_of(pointer);
  if (down + up != job.moved) {
    job.moved = down + up;
    job.touch();
  }
  return job.cancelled ? 1 : 0;
}

std::string_view trim(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) {
    return {};
  }
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

bool is_before_connection(CURLcode result) {
  switch (result) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_OPERATION_TIMEDOUT:  // the only time limit that curl has here is to connect
      return true;
    default:
      return false;
  }
}

}  // namespace

bool Job::refuse(Outcome::How how, std::string words) {
  if (!verdict) {
    verdict = how;
    why = std::move(words);
  }
  return false;
}

bool Job::take_field(std::string_view line) {
  touch();
  head_bytes += line.size();
  if (cancelled) {
    return false;
  }
  if (head_bytes > kMaxHeadBytes || head.headers.size() > kMaxHeadFields) {
    return refuse(Outcome::How::kTooLong, "the head of the answer has no end");
  }
  if (head_given) {
    return true;  // fields behind a body say nothing to us
  }
  if (line.ends_with("\n")) {
    line.remove_suffix(line.ends_with("\r\n") ? 2 : 1);
  }
  if (line.starts_with("HTTP/")) {
    head = {};  // an interim answer was before it
    return true;
  }
  if (line.empty()) {
    return give_head();
  }
  const std::size_t colon = line.find(':');
  Header field{std::string(line.substr(0, colon)),
               std::string(trim(line.substr(std::min(colon, line.size() - 1) + 1)))};
  if (colon == std::string_view::npos || !is_valid(field)) {
    return refuse(Outcome::How::kBroken, "a line in the head of the answer is no field");
  }
  head.headers.push_back(std::move(field));
  return true;
}

bool Job::give_head() {
  long status = 0;
  curl_easy_getinfo(easy.get(), CURLINFO_RESPONSE_CODE, &status);
  if (status < 200) {
    return true;
  }
  curl_off_t length = -1;
  curl_easy_getinfo(easy.get(), CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
  head.status = static_cast<int>(status);
  if (length >= 0) {
    head.length = static_cast<std::uint64_t>(length);
  }
  head_given = true;
  if (!head_fits_request()) {
    return false;
  }
  if (receiver.head && !receiver.head(head)) {
    return refuse(Outcome::How::kRefused, "the answer is not wanted");
  }
  return !cancelled;
}

bool Job::head_fits_request() {
  if (head.length && *head.length > request.longest_answer) {
    return refuse(Outcome::How::kTooLong, "the answer has " + std::to_string(*head.length) +
                                              " bytes, more than " +
                                              std::to_string(request.longest_answer));
  }
  // A body that ends with the connection cannot be told from one that was cut off.
  if (!head.length && find(head.headers, "Transfer-Encoding") == nullptr && head.status != 204 &&
      head.status != 304) {
    return refuse(Outcome::How::kBroken, "the answer does not say how long it is");
  }
  return true;
}

bool Job::take_body(Bytes bytes) {
  if (cancelled) {
    return false;
  }
  if (bytes.size() > request.longest_answer - received) {
    return refuse(Outcome::How::kTooLong,
                  "the answer has more than " + std::to_string(request.longest_answer) + " bytes");
  }
  received += bytes.size();
  if (receiver.data && !receiver.data(bytes)) {
    return refuse(Outcome::How::kRefused, "the receiver wants no more");
  }
  return !cancelled;
}

ClientCore::ClientCore(MainLoop& loop, std::string base, Security security,
                       const Client::Options& options)
    : loop_(loop),
      base_(std::move(base)),
      security_(std::move(security)),
      options_(options),
      multi_(curl_multi_init()) {
  if (!multi_) {
    throw std::bad_alloc();
  }
  curl_multi_setopt(multi_.get(), CURLMOPT_SOCKETFUNCTION, on_socket);
  curl_multi_setopt(multi_.get(), CURLMOPT_SOCKETDATA, this);
  curl_multi_setopt(multi_.get(), CURLMOPT_TIMERFUNCTION, on_timer);
  curl_multi_setopt(multi_.get(), CURLMOPT_TIMERDATA, this);
  curl_multi_setopt(multi_.get(), CURLMOPT_PIPELINING, CURLPIPE_NOTHING);
  // The limit is ours: as many requests run as there may be connections. So the time that a request
  // waits for a connection is not taken for the server's silence.
  curl_multi_setopt(multi_.get(), CURLMOPT_MAXCONNECTS, static_cast<long>(options_.connections));
}

ClientCore::~ClientCore() {
  closing_ = true;
  for (const auto& [id, job] : jobs_) {
    if (job->easy) {
      curl_multi_remove_handle(multi_.get(), job->easy.get());
    }
  }
}

void ClientCore::close() {
  closing_ = true;
  timer_.reset();
  sockets_.clear();
  for (const auto& [id, job] : jobs_) {
    job->cancelled = true;
    job->timer.reset();
  }
}

std::uint64_t ClientCore::add(Request request, Receiver receiver) {
  auto job = std::make_unique<Job>();
  job->core = weak_from_this();
  job->loop = &loop_;
  job->id = ++last_id_;
  job->request = std::move(request);
  job->receiver = std::move(receiver);
  const std::uint64_t id = job->id;
  jobs_.emplace(id, std::move(job));
  waiting_.push_back(id);
  if (!inside_) {
    start_waiting();
  }
  return id;
}

void ClientCore::cancel(std::uint64_t id) {
  const auto found = jobs_.find(id);
  if (found == jobs_.end() || closing_) {
    return;
  }
  Job& job = *found->second;
  if (inside_ && job.easy) {
    if (!std::exchange(job.cancelled, true)) {
      cancelled_.push_back(id);
    }
    return;
  }
  std::erase(waiting_, id);
  const std::unique_ptr<Job> owner = take(id);
  if (!inside_) {
    start_waiting();
  }
}

std::unique_ptr<Job> ClientCore::take(std::uint64_t id) {
  auto node = jobs_.extract(id);
  std::unique_ptr<Job> job = std::move(node.mapped());
  if (job->easy) {
    curl_multi_remove_handle(multi_.get(), job->easy.get());
    running_--;
    if (idle_.size() < options_.connections) {
      curl_easy_reset(job->easy.get());
      idle_.push_back(std::move(job->easy));
    } else {
      job->easy.reset();
    }
  }
  job->timer.reset();
  return job;
}

int ClientCore::on_socket(CURL* /*easy*/, curl_socket_t fd, int what, void* self,
                          void* /*known*/) noexcept {
  auto* core = static_cast<ClientCore*>(self);
  if (!core->closing_) {
    core->loop_.contain([&] { core->watch(fd, what); });
  }
  return 0;
}

void ClientCore::watch(curl_socket_t fd, int what) {
  if (what == CURL_POLL_REMOVE) {
    sockets_.erase(fd);
    return;
  }
  unsigned events = 0;
  events |= (what & CURL_POLL_IN) != 0 ? unsigned{MainLoop::kReadable} : 0U;
  events |= (what & CURL_POLL_OUT) != 0 ? unsigned{MainLoop::kWritable} : 0U;
  sockets_[fd] = loop_.watch(fd, events, [weak = weak_from_this(), fd](unsigned happened) {
    int mask = 0;
    mask |= (happened & MainLoop::kReadable) != 0 ? CURL_CSELECT_IN : 0;
    mask |= (happened & MainLoop::kWritable) != 0 ? CURL_CSELECT_OUT : 0;
    // What the peer sent before it closed is still to be read.
    mask |= (happened & MainLoop::kHangup) != 0 ? CURL_CSELECT_IN | CURL_CSELECT_ERR : 0;
    if (const std::shared_ptr<ClientCore> core = weak.lock()) {
      core->act(fd, mask);
    }
  });
}

int ClientCore::on_timer(CURLM* /*multi*/, long milliseconds, void* self) noexcept {
  auto* core = static_cast<ClientCore*>(self);
  if (core->closing_) {
    return 0;
  }
  if (milliseconds < 0) {
    core->timer_.reset();
    return 0;
  }
  core->loop_.contain([&] {
    core->timer_ =
        core->loop_.after(std::chrono::milliseconds(milliseconds), [weak = core->weak_from_this()] {
          if (const std::shared_ptr<ClientCore> held = weak.lock()) {
            held->act(CURL_SOCKET_TIMEOUT, 0);
          }
        });
  });
  return 0;
}

void ClientCore::act(curl_socket_t fd, int events) {
  int running = 0;
  inside_ = true;
  const CURLMcode result = curl_multi_socket_action(multi_.get(), fd, events, &running);
  inside_ = false;
  if (result != CURLM_OK) {
    throw Error(std::string("curl_multi_socket_action: ") + curl_multi_strerror(result));
  }
  settle();
}

void ClientCore::settle() {
  for (const std::uint64_t id : std::exchange(cancelled_, {})) {
    if (!closing_ && jobs_.contains(id)) {
      const std::unique_ptr<Job> owner = take(id);
    }
  }
  int left = 0;
  while (!closing_) {
    const CURLMsg* message = curl_multi_info_read(multi_.get(), &left);
    if (message == nullptr) {
      break;
    }
    if (message->msg == CURLMSG_DONE) {
      // The message is gone with its handle.
      const CURLcode result = message->data.result;
      void* pointer = nullptr;
      curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &pointer);
      finish(job_of(pointer).id, result);
    }
  }
  start_waiting();
}

void ClientCore::finish(std::uint64_t id, CURLcode result) {
  Outcome outcome = outcome_of(*jobs_.at(id), result);
  const std::unique_ptr<Job> job = take(id);
  log::debug(
      log::kHttp, [&] { return std::string(name_of(job->request.method)); }, " ", base_,
      job->request.target, ": status ", outcome.head.status, ", ", outcome.received, " bytes ",
      outcome.error);
  if (job->receiver.done) {
    // Each by itself: one that throws must not hold up the others' ends.
    loop_.contain([&] { job->receiver.done(outcome); });
  }
}

Outcome ClientCore::outcome_of(const Job& job, CURLcode result) const {
  Outcome outcome{.head = job.head, .received = job.received};
  if (!job.head_given) {
    outcome.head = {};
  }
  // curl takes a connection that ends inside the head for the end of the answer.
  if (result == CURLE_OK && !job.verdict && job.head_given) {
    outcome.how = Outcome::How::kComplete;
    return outcome;
  }
  outcome.how = job.verdict.value_or(is_before_connection(result) ? Outcome::How::kUnreachable
                                                                  : Outcome::How::kBroken);
  outcome.error =
      std::string(name_of(job.request.method)) + " " + base_ + job.request.target + ": ";
  if (!job.why.empty()) {
    outcome.error += job.why;
  } else if (result == CURLE_OK) {
    outcome.error += "the connection ended in the head of the answer";
  } else {
    outcome.error += job.error[0] != '\0' ? job.error.data() : curl_easy_strerror(result);
  }
  return outcome;
}

void ClientCore::start_waiting() {
  while (!closing_ && !waiting_.empty() && running_ < options_.connections) {
    Job& job = *jobs_.at(waiting_.front());
    waiting_.pop_front();
    begin(job);
  }
}

void ClientCore::begin(Job& job) {
  if (idle_.empty()) {
    job.easy.reset(curl_easy_init());
  } else {
    job.easy = std::move(idle_.back());
    idle_.pop_back();
  }
  if (!job.easy) {
    throw std::bad_alloc();
  }
  job.touch();
  running_++;
  try {
    configure(job.easy.get(), job);
    const CURLMcode result = curl_multi_add_handle(multi_.get(), job.easy.get());
    if (result != CURLM_OK) {
      throw Error(std::string("curl_multi_add_handle: ") + curl_multi_strerror(result));
    }
  } catch (const Error& error) {
    // From the loop, as every outcome.
    job.refuse(Outcome::How::kUnreachable, error.what());
    job.request.patience = {};
  }
  check_progress_later(job);
}

void ClientCore::check_progress_later(Job& job) {
  const auto when =
      std::chrono::ceil<milliseconds>(job.progress + job.request.patience - steady_clock::now());
  job.timer = loop_.after(when, [weak = weak_from_this(), id = job.id] {
    if (const std::shared_ptr<ClientCore> core = weak.lock()) {
      core->check_progress(id);
    }
  });
}

void ClientCore::check_progress(std::uint64_t id) {
  Job& job = *jobs_.at(id);
  if (steady_clock::now() - job.progress < job.request.patience) {
    check_progress_later(job);
    return;
  }
  job.refuse(Outcome::How::kTimedOut,
             "no byte for " + std::to_string(job.request.patience.count()) + " ms");
  finish(id, CURLE_OPERATION_TIMEDOUT);
  start_waiting();
}

void ClientCore::configure(CURL* easy, Job& job) const {
  const Request& request = job.request;
  const bool plain = std::holds_alternative<PlainHttp>(security_);
  set(easy, CURLOPT_PRIVATE, static_cast<void*>(&job));
  set(easy, CURLOPT_URL, (base_ + request.target).c_str());
  set(easy, CURLOPT_PROTOCOLS_STR, plain ? "http" : "https");
  set(easy, CURLOPT_PATH_AS_IS, 1L);
  set(easy, CURLOPT_PROXY, "");  // whatever the environment says
  set(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  set(easy, CURLOPT_NOSIGNAL, 1L);
  // Else removing a handle waits for its name to be resolved, which may take half a minute.
  set(easy, CURLOPT_QUICK_EXIT, 1L);
  set(easy, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(options_.connect_timeout.count()));
  set(easy, CURLOPT_TCP_KEEPALIVE, 1L);
  set(easy, CURLOPT_BUFFERSIZE, 128L * 1024);
  set(easy, CURLOPT_ERRORBUFFER, job.error.data());
  set(easy, CURLOPT_HEADERFUNCTION, on_header);
  set(easy, CURLOPT_HEADERDATA, static_cast<void*>(&job));
  set(easy, CURLOPT_WRITEFUNCTION, on_body);
  set(easy, CURLOPT_WRITEDATA, static_cast<void*>(&job));
  set(easy, CURLOPT_NOPROGRESS, 0L);
  set(easy, CURLOPT_XFERINFOFUNCTION, on_progress);
  set(easy, CURLOPT_XFERINFODATA, static_cast<void*>(&job));
  if (const auto* tls = std::get_if<TlsConfig>(&security_)) {
    set(easy, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_3));
    set(easy, CURLOPT_SSLCERT, tls->certificate.c_str());
    set(easy, CURLOPT_SSLKEY, tls->key.c_str());
    set(easy, CURLOPT_CAINFO, tls->authority.c_str());
    set(easy, CURLOPT_CAPATH, static_cast<char*>(nullptr));  // the system's are not trusted
  }
  const auto add_field = [&](const std::string& line) {
    curl_slist* longer = curl_slist_append(job.fields.get(), line.c_str());
    if (longer == nullptr) {
      throw std::bad_alloc();
    }
    if (!job.fields) {
      job.fields.reset(longer);  // else it is the same list
    }
  };
  for (const Header& header : request.headers) {
    // curl's way to write a field without a value
    add_field(header.value.empty() ? header.name + ";" : header.name + ": " + header.value);
  }
  if (request.method == Method::kPost) {
    set(easy, CURLOPT_POST, 1L);
    set(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
    set(easy, CURLOPT_POSTFIELDS, static_cast<const void*>(request.body.data()));
    add_field("Expect:");  // it would cost a round trip, or a second of waiting
    if (find(request.headers, "Content-Type") == nullptr) {
      add_field("Content-Type: application/octet-stream");
    }
  }
  set(easy, CURLOPT_HTTPHEADER, job.fields.get());
}

}  // namespace izo::http
