// SPDX-License-Identifier: GPL-2.0
// What is behind Client: curl's handles and the requests that are under way.
#pragma once

#include <curl/curl.h>

#include <array>
#include <chrono>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/main_loop.h"
#include "http/client.h"

namespace izo::http {

struct EndEasy {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
};
using Easy = std::unique_ptr<CURL, EndEasy>;

struct EndMulti {
  void operator()(CURLM* multi) const { curl_multi_cleanup(multi); }
};

struct FreeList {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};

/// One request, from start() to its end.
struct Job {
  std::weak_ptr<ClientCore> core;
  MainLoop* loop = nullptr;
  std::uint64_t id = 0;
  Request request;
  Receiver receiver;
  bool cancelled = false;

  AnswerHead head;
  bool head_given = false;
  std::size_t head_bytes = 0;
  std::uint64_t received = 0;
  std::optional<Outcome::How> verdict;  ///< Why we ended it, if we did.
  std::string why;                      ///< The words for it.

  Easy easy;  ///< Empty while it waits.
  std::unique_ptr<curl_slist, FreeList> fields;
  std::array<char, CURL_ERROR_SIZE> error{};
  curl_off_t moved = 0;  ///< Bytes, both ways, when `progress` was set.
  std::chrono::steady_clock::time_point progress;
  MainLoop::Handle timer;

  /// Ends it from one of curl's callbacks; false, as they want it.
  bool refuse(Outcome::How how, std::string words);
  bool take_field(std::string_view line);
  bool take_body(Bytes bytes);
  void touch() { progress = std::chrono::steady_clock::now(); }

 private:
  bool give_head();
  bool head_fits_request();
};

/// Lives as long as the Client, or as the callback in which that ended.
class ClientCore : public std::enable_shared_from_this<ClientCore> {
 public:
  ClientCore(MainLoop& loop, std::string base, Security security, const Client::Options& options);
  ~ClientCore();
  ClientCore(const ClientCore&) = delete;
  ClientCore& operator=(const ClientCore&) = delete;

  /// Returns its number.
  std::uint64_t add(Request request, Receiver receiver);
  void cancel(std::uint64_t id);
  [[nodiscard]] bool has(std::uint64_t id) const { return jobs_.contains(id); }
  /// The client ended: nothing is called any more.
  void close();

 private:
  static int on_socket(CURL* easy, curl_socket_t fd, int what, void* self, void* known) noexcept;
  static int on_timer(CURLM* multi, long milliseconds, void* self) noexcept;

  void watch(curl_socket_t fd, int what);
  void act(curl_socket_t fd, int events);
  void settle();
  void start_waiting();
  void begin(Job& job);
  void configure(CURL* easy, Job& job) const;
  void check_progress(std::uint64_t id);
  void check_progress_later(Job& job);
  void finish(std::uint64_t id, CURLcode result);
  std::unique_ptr<Job> take(std::uint64_t id);
  [[nodiscard]] Outcome outcome_of(const Job& job, CURLcode result) const;

  MainLoop& loop_;
  const std::string base_;
  const Security security_;
  const Client::Options options_;
  bool inside_ = false;   // a function of curl that calls back is on the stack
  bool closing_ = false;  // nothing of ours may be called back any more
  std::unordered_map<curl_socket_t, MainLoop::Handle> sockets_;
  MainLoop::Handle timer_;
  std::uint64_t last_id_ = 0;
  std::map<std::uint64_t, std::unique_ptr<Job>> jobs_;
  std::deque<std::uint64_t> waiting_;
  std::vector<std::uint64_t> cancelled_;  // inside curl; to be taken out after it
  std::size_t running_ = 0;
  std::vector<Easy> idle_;
  std::unique_ptr<CURLM, EndMulti> multi_;
};

}  // namespace izo::http
