// SPDX-License-Identifier: GPL-2.0
// The loop on which every decision is made: descriptors, timers, signals, and functions posted by
// other threads. GLib's, with a context of its own, so that one process can have several.
#pragma once

#include <atomic>
#include <chrono>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>

namespace izo {

/// Belongs to the thread that runs it; only post(), quit(), contain() and fail() may be called by
/// others. Must live longer than what those others do.
class MainLoop {
 public:
  /// What a descriptor is watched for; bits.
  enum Event : unsigned {
    kReadable = 1,
    kWritable = 2,
    kHangup = 4,  ///< The peer closed, or will send nothing more. Always told with an error.
  };

  /// Owns a source: the callback is called no more once this has ended. It may end inside its own
  /// callback, which finishes with everything that it captured, and may outlive the loop.
  class Handle {
   public:
    Handle() = default;
    /// Ends the source.
    void reset() noexcept { source_.reset(); }
    /// Will its callback be called (again)?
    [[nodiscard]] bool active() const noexcept;

   private:
    friend class MainLoop;
    struct Destroy {
      void operator()(void* source) const noexcept;
    };
    explicit Handle(void* source) noexcept : source_(source) {}
    std::unique_ptr<void, Destroy> source_;  // a GSource
  };

  using Function = std::function<void()>;

  MainLoop();
  ~MainLoop();
  MainLoop(const MainLoop&) = delete;
  MainLoop& operator=(const MainLoop&) = delete;

  /// Calls `function` with what happened, as long as it is so. `fd` stays the caller's and must be
  /// open until the handle has ended.
  [[nodiscard]] Handle watch(int fd, unsigned events, std::function<void(unsigned)> function);

  /// Calls `function` once, not before `delay` has passed (CLOCK_MONOTONIC).
  [[nodiscard]] Handle after(std::chrono::milliseconds delay, Function function);

  /// Calls `function` when the process gets that signal, which stays blocked in the calling thread
  /// and those it starts from now on, and in programs they execute unless those unblock it. So
  /// before the first thread is started. Throws SysError.
  [[nodiscard]] Handle on_signal(int signal, Function function);

  /// Calls `function` on the loop, after those posted before. Any thread.
  void post(Function function);

  /// Runs until quit(). Rethrows the first exception that a callback let out: its source is gone
  /// then, but the loop may be run again.
  void run();

  /// The same, until `condition` holds, which is asked after each turn, or `limit` has passed.
  /// Returns whether it held.
  bool run_until(const std::function<bool()>& condition, std::chrono::milliseconds limit);

  /// Lets run() return after the callback that is running; before run(), lets that return at once.
  void quit() noexcept;

  /// Runs a function of ours that C code calls: an exception must not cross C frames, so it is kept
  /// for run() to rethrow. Returns whether there was none.
  template <typename Callable>
  bool contain(Callable&& callable) noexcept {
    try {
      std::forward<Callable>(callable)();
      return true;
    } catch (...) {
      fail(std::current_exception());
      return false;
    }
  }

  /// Lets run() throw that exception, unless another was first.
  void fail(std::exception_ptr exception) noexcept;

 private:
  struct Context;
  template <typename Callable>
  struct Closure;

  template <typename Callable>
  Handle attach(void* source, Callable callable);
  void run_posted();
  void turn();
  void rethrow();

  std::unique_ptr<Context> context_;
  std::mutex mutex_;
  std::deque<Function> posted_;    // under mutex_
  std::exception_ptr failure_;     // under mutex_
  std::atomic<bool> stop_{false};  // quit() was called, or there is a failure_
};

}  // namespace izo
