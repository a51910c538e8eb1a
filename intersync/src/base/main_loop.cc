// SPDX-License-Identifier: GPL-2.0
#include "base/main_loop.h"

#include <glib.h>
#include <poll.h>
#include <sys/signalfd.h>

#include <algorithm>
#include <csignal>
#include <limits>
#include <type_traits>
#include <utility>

#include "base/error.h"
#include "base/unique_fd.h"

namespace izo {
namespace {

struct UnrefContext {
  void operator()(GMainContext* context) const { g_main_context_unref(context); }
};

struct DestroySource {
  void operator()(GSource* source) const {
    g_source_destroy(source);
    g_source_unref(source);
  }
};

/// A descriptor by poll(2)'s own bits: GLib's conditions have none for a peer that only stopped
/// sending.
struct PollSource {
  GSource source;
  GPollFD poll;
};

gushort poll_events_of(unsigned events) {
  unsigned bits = 0;
  bits |= (events & MainLoop::kReadable) != 0 ? unsigned{POLLIN} : 0U;
  bits |= (events & MainLoop::kWritable) != 0 ? unsigned{POLLOUT} : 0U;
  bits |= (events & MainLoop::kHangup) != 0 ? unsigned{POLLRDHUP} : 0U;
  return static_cast<gushort>(bits);
}

unsigned events_of(unsigned poll_events) {
  unsigned events = 0;
  events |= (poll_events & POLLIN) != 0 ? unsigned{MainLoop::kReadable} : 0U;
  events |= (poll_events & POLLOUT) != 0 ? unsigned{MainLoop::kWritable} : 0U;
  events |= (poll_events & (POLLERR | POLLHUP | POLLNVAL | unsigned{POLLRDHUP})) != 0
                ? unsigned{MainLoop::kHangup}
                : 0U;
  return events;
}

gboolean check_poll(GSource* source) {
  return events_of(reinterpret_cast<PollSource*>(source)->poll.revents) != 0 ? TRUE : FALSE;
}

using PollFunction = gboolean (*)(unsigned events, void* data);

gboolean dispatch_poll(GSource* source, GSourceFunc function, void* data) {
  return reinterpret_cast<PollFunction>(reinterpret_cast<void (*)()>(function))(
      events_of(reinterpret_cast<PollSource*>(source)->poll.revents), data);
}

GSourceFuncs g_poll_functions{nullptr, check_poll, dispatch_poll, nullptr, nullptr, nullptr};

gboolean dispatch_posted(GSource* source, GSourceFunc function, void* data) {
  // Before the functions are taken: one that is posted from here on sets it again.
  g_source_set_ready_time(source, -1);
  return function(data);
}

GSourceFuncs g_posted_functions{nullptr, nullptr, dispatch_posted, nullptr, nullptr, nullptr};

}  // namespace

struct MainLoop::Context {
  // In this order: the source ends before its context.
  std::unique_ptr<GMainContext, UnrefContext> context{g_main_context_new()};
  std::unique_ptr<GSource, DestroySource> posted{
      g_source_new(&g_posted_functions, sizeof(GSource))};
};

/// What a source calls. GLib holds it until the call has returned, also when the source ends in it.
template <typename Callable>
struct MainLoop::Closure {
  MainLoop* loop;
  Callable callable;

  static gboolean call(void* data) noexcept {
    auto* self = static_cast<Closure*>(data);
    return self->loop->contain([&] { self->callable(); }) ? G_SOURCE_CONTINUE : G_SOURCE_REMOVE;
  }
  static gboolean call_once(void* data) noexcept {
    call(data);
    return G_SOURCE_REMOVE;
  }
  static gboolean call_with(unsigned events, void* data) noexcept {
    auto* self = static_cast<Closure*>(data);
    return self->loop->contain([&] { self->callable(events); }) ? G_SOURCE_CONTINUE
                                                                : G_SOURCE_REMOVE;
  }
  static void destroy(void* data) noexcept {
    const std::unique_ptr<Closure> owner(static_cast<Closure*>(data));
  }
};

bool MainLoop::Handle::active() const noexcept {
  return source_ && g_source_is_destroyed(static_cast<GSource*>(source_.get())) == FALSE;
}

void MainLoop::Handle::Destroy::operator()(void* source) const noexcept {
  DestroySource()(static_cast<GSource*>(source));
}

MainLoop::MainLoop() : context_(std::make_unique<Context>()) {
  g_source_set_callback(
      context_->posted.get(),
      [](void* data) -> gboolean {
        auto* loop = static_cast<MainLoop*>(data);
        loop->contain([&] { loop->run_posted(); });
        return G_SOURCE_CONTINUE;
      },
      this, nullptr);
  g_source_attach(context_->posted.get(), context_->context.get());
}

MainLoop::~MainLoop() = default;

template <typename Callable>
MainLoop::Handle MainLoop::attach(void* source, Callable callable) {
  Handle handle(source);
  using Made = Closure<Callable>;
  auto closure = std::make_unique<Made>(Made{this, std::move(callable)});
  GSourceFunc function = nullptr;
  if constexpr (std::is_invocable_v<Callable, unsigned>) {
    function = G_SOURCE_FUNC(Made::call_with);
  } else {
    function = Made::call_once;
  }
  auto* made = static_cast<GSource*>(source);
  g_source_set_callback(made, function, closure.release(), Made::destroy);
  g_source_attach(made, context_->context.get());
  return handle;
}

MainLoop::Handle MainLoop::watch(int fd, unsigned events, std::function<void(unsigned)> function) {
  GSource* source = g_source_new(&g_poll_functions, sizeof(PollSource));
  GPollFD& poll = reinterpret_cast<PollSource*>(source)->poll;
  poll = {.fd = fd, .events = poll_events_of(events), .revents = 0};
  g_source_add_poll(source, &poll);
  return attach(source, std::move(function));
}

MainLoop::Handle MainLoop::after(std::chrono::milliseconds delay, Function function) {
  const auto milliseconds = std::clamp<std::chrono::milliseconds::rep>(
      delay.count(), 0, std::numeric_limits<guint>::max());
  return attach(g_timeout_source_new(static_cast<guint>(milliseconds)), std::move(function));
}

MainLoop::Handle MainLoop::on_signal(int signal, Function function) {
  // Not g_unix_signal_source_new(): it starts a thread, and knows six signals.
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signal);
  if (const int error = pthread_sigmask(SIG_BLOCK, &set, nullptr); error != 0) {
    throw SysError(error, "pthread_sigmask");
  }
  auto fd = std::make_shared<UniqueFd>(
      checked(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK), "signalfd"));
  return watch(fd->get(), kReadable, [fd, function = std::move(function)](unsigned) {
    signalfd_siginfo info{};
    if (::read(fd->get(), &info, sizeof(info)) == sizeof(info)) {
      function();
    }
  });
}

void MainLoop::post(Function function) {
  const std::lock_guard lock(mutex_);
  posted_.push_back(std::move(function));
  if (posted_.size() == 1) {
    g_source_set_ready_time(context_->posted.get(), 0);
  }
}

void MainLoop::run_posted() {
  // Those posted meanwhile wait for the next turn: a function that posts itself must not keep
  // descriptors and timers from their turn.
  std::deque<Function> functions;
  {
    const std::lock_guard lock(mutex_);
    functions.swap(posted_);
  }
  while (!functions.empty() && !stop_) {
    const Function function = std::move(functions.front());
    functions.pop_front();
    contain(function);
  }
  if (!functions.empty()) {
    const std::lock_guard lock(mutex_);
    posted_.insert(posted_.begin(), std::make_move_iterator(functions.begin()),
                   std::make_move_iterator(functions.end()));
    g_source_set_ready_time(context_->posted.get(), 0);
  }
}

void MainLoop::turn() {
  g_main_context_iteration(context_->context.get(), TRUE);
}

void MainLoop::rethrow() {
  std::exception_ptr failure;
  {
    const std::lock_guard lock(mutex_);
    stop_ = false;
    failure = std::exchange(failure_, nullptr);
  }
  if (failure) {
    std::rethrow_exception(failure);
  }
}

void MainLoop::run() {
  while (!stop_) {
    turn();
  }
  rethrow();
}

bool MainLoop::run_until(const std::function<bool()>& condition, std::chrono::milliseconds limit) {
  bool late = false;
  const Handle timer = after(limit, [&] { late = true; });
  bool held = condition();
  while (!held && !late && !stop_) {
    turn();
    held = condition();
  }
  rethrow();
  return held;
}

void MainLoop::quit() noexcept {
  stop_ = true;
  g_main_context_wakeup(context_->context.get());
}

void MainLoop::fail(std::exception_ptr exception) noexcept {
  {
    const std::lock_guard lock(mutex_);
    if (!failure_) {
      failure_ = std::move(exception);
    }
    stop_ = true;
  }
  g_main_context_wakeup(context_->context.get());
}

}  // namespace izo
