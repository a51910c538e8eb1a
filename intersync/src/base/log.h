// SPDX-License-Identifier: GPL-2.0
// The log: the only global. Lines go to stderr, with a priority in front if the journal reads it,
// and to a file if there is one. Any thread.
#pragma once

#include <atomic>
#include <mutex>
#include <string>
#include <string_view>
#include <type_traits>

#include "base/clock.h"
#include "base/repeat_filter.h"
#include "base/unique_fd.h"

namespace izo::log {

/// As syslog(3) numbers them.
enum class Level : int { kError = 3, kWarning = 4, kNotice = 5, kInfo = 6, kDebug = 7 };

/// What `-debug N` asks for; bits.
enum Topic : unsigned {
  kInfo = 1,     ///< D_INFO
  kKml = 2,      ///< D_KML
  kUpcall = 4,   ///< D_UPCALL
  kHttp = 8,     ///< D_HTTP
  kReint = 16,   ///< D_REINT
  kTopics = 31,  ///< All of them.
};

/// Where lines go. The program's own is used by the functions below; tests make others.
class Logger {
 public:
  /// How a line begins on the descriptor: the program's name, or the journal's `<priority>`.
  enum class Form { kPlain, kJournal };

  /// `fd` stays the caller's. `clock` must live as long.
  Logger(const Clock& clock, int fd, Form form, std::string program);

  /// One line. Bytes that a terminal would obey are shown as \xNN, as much of it comes from peers;
  /// what is beyond 4 KiB is cut. One that repeats itself is held back, but for kDebug. A line that
  /// cannot be written is lost: the log never stops its program.
  void write(Level level, std::string_view text);

  /// Lines go to this file too, which is made with mode 0640 if it is not there. Once more after
  /// the file was rotated. Throws SysError; then the file before is kept.
  void to_file(const std::string& path);

 private:
  void write_line(Level level, const std::string& text);

  const Clock& clock_;
  int fd_;
  Form form_;
  std::string program_;
  std::mutex mutex_;
  UniqueFd file_;        // under mutex_
  RepeatFilter filter_;  // under mutex_
};

/// Is `fd` what systemd's JOURNAL_STREAM (its value: `stream`, or null) says that the journal
/// reads?
bool is_journal(int fd, const char* stream);

/// The program's logger: stderr. Never destroyed.
Logger& logger();

namespace detail {

inline std::atomic<unsigned> g_topics{0};

template <typename Part>
void append(std::string& line, const Part& part) {
  if constexpr (std::is_invocable_v<const Part&>) {
    append(line, part());
  } else if constexpr (std::is_same_v<Part, char>) {
    line += part;
  } else if constexpr (std::is_same_v<Part, bool>) {
    line += part ? "yes" : "no";
  } else if constexpr (std::is_arithmetic_v<Part>) {
    line += std::to_string(part);
  } else {
    line += std::string_view(part);
  }
}

template <typename... Parts>
void write(Level level, const Parts&... parts) {
  std::string line;
  (append(line, parts), ...);
  logger().write(level, line);
}

}  // namespace detail

/// Are debug lines of that topic wanted?
inline bool wants(Topic topic) {
  return (detail::g_topics.load(std::memory_order_relaxed) & topic) != 0;
}

/// Sets the topics wanted: Topic bits.
inline void set_topics(unsigned topics) {
  detail::g_topics.store(topics, std::memory_order_relaxed);
}

/// A line made of its parts: texts, numbers, and functions without arguments that return such.
template <typename... Parts>
void error(const Parts&... parts) {
  detail::write(Level::kError, parts...);
}
template <typename... Parts>
void warning(const Parts&... parts) {
  detail::write(Level::kWarning, parts...);
}
template <typename... Parts>
void notice(const Parts&... parts) {
  detail::write(Level::kNotice, parts...);
}
template <typename... Parts>
void info(const Parts&... parts) {
  detail::write(Level::kInfo, parts...);
}

/// A debug line. When the topic is off it costs a load and a branch: what is dear to make is given
/// as a function, which is not called then.
template <typename... Parts>
void debug(Topic topic, const Parts&... parts) {
  if (wants(topic)) [[unlikely]] {
    detail::write(Level::kDebug, parts...);
  }
}

}  // namespace izo::log
