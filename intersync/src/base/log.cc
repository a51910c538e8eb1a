// SPDX-License-Identifier: GPL-2.0
#include "base/log.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <ctime>

#include "base/error.h"

namespace izo::log {
namespace {

constexpr std::size_t kLongest = 4096;

/// Control characters of ASCII, and those of Latin-1 as UTF-8 writes them, as \xNN.
std::string printable(std::string_view text) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string line;
  for (std::size_t at = 0; at < text.size(); at++) {
    if (line.size() >= kLongest) {
      return line + "...";
    }
    const auto byte = static_cast<unsigned char>(text[at]);
    const auto next = static_cast<unsigned char>(at + 1 < text.size() ? text[at + 1] : '\0');
    if (byte >= 0x20 && byte != 0x7f && (byte != 0xc2 || next < 0x80 || next > 0x9f)) {
      line += text[at];
    } else {
      line.append("\\x").append(1, kDigits[byte >> 4]).append(1, kDigits[byte & 15]);
    }
  }
  return line;
}

std::string_view name_of(Level level) {
  switch (level) {
    case Level::kError:
      return "error";
    case Level::kWarning:
      return "warning";
    case Level::kNotice:
      return "notice";
    case Level::kInfo:
      return "info";
    case Level::kDebug:
      return "debug";
  }
  return "?";
}

/// "2026-07-01T12:00:00.000Z"
std::string time_of(std::chrono::nanoseconds wall) {
  const std::time_t seconds = std::chrono::floor<std::chrono::seconds>(wall).count();
  const auto milliseconds =
      std::chrono::floor<std::chrono::milliseconds>(wall).count() - seconds * 1000;
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  std::array<char, 32> text{};
  const std::size_t length = std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S.", &parts);
  return std::string(text.data(), length) + std::to_string(1000 + milliseconds).substr(1) + "Z";
}

/// In one call, so that lines of several writers do not mix.
void put(int fd, const std::string& line) {
  while (::write(fd, line.data(), line.size()) < 0 && errno == EINTR) {
  }
}

}  // namespace

Logger::Logger(const Clock& clock, int fd, Form form, std::string program)
    : clock_(clock), fd_(fd), form_(form), program_(std::move(program)) {}

void Logger::write(Level level, std::string_view text) {
  std::string line = printable(text);
  const std::lock_guard lock(mutex_);
  if (level != Level::kDebug) {
    const RepeatFilter::Verdict verdict = filter_.judge(line, clock_.monotonic());
    if (!verdict.write) {
      return;
    }
    if (verdict.unsaid != 0) {
      line += " (and " + std::to_string(verdict.unsaid) + " times more)";
    }
  }
  write_line(level, line);
}

void Logger::write_line(Level level, const std::string& text) {
  std::string line;
  if (form_ == Form::kJournal) {
    line.append("<").append(std::to_string(static_cast<int>(level))).append(">");
  } else {
    line.append(program_).append(": ");
  }
  put(fd_, line.append(text).append("\n"));
  if (file_) {
    put(file_.get(),
        time_of(clock_.wall()).append(" ").append(name_of(level)).append(" ").append(text) + "\n");
  }
}

void Logger::to_file(const std::string& path) {
  UniqueFd file(checked(
      ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC, 0640),
      "open", path));
  const std::lock_guard lock(mutex_);
  file_ = std::move(file);
}

bool is_journal(int fd, const char* stream) {
  struct stat status{};
  if (stream == nullptr || ::fstat(fd, &status) != 0) {
    return false;
  }
  return std::to_string(status.st_dev) + ":" + std::to_string(status.st_ino) == stream;
}

Logger& logger() {
  static const SystemClock& clock = *new SystemClock;
  // Never destroyed: other threads may write to the very end.
  static Logger& logger =
      *new Logger(clock, STDERR_FILENO,
                  is_journal(STDERR_FILENO, std::getenv("JOURNAL_STREAM")) ? Logger::Form::kJournal
                                                                           : Logger::Form::kPlain,
                  program_invocation_short_name);
  return logger;
}

}  // namespace izo::log
