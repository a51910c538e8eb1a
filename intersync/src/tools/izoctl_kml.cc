// SPDX-License-Identifier: GPL-2.0
// izoctl kml: the records of a log, as text or as JSON; as they come if asked to follow.
#include <array>
#include <charconv>
#include <iostream>
#include <nlohmann/json.hpp>

#include "base/command_line.h"
#include "base/error.h"
#include "kml/record_text.h"
#include "kml/stream_reader.h"
#include "tools/cache_tables.h"
#include "tools/izoctl.h"
#include "tools/log_source.h"
#include "tools/mounted_log.h"
#include "tools/output.h"
#include "tools/record_json.h"
#include "tools/stop_signals.h"

namespace izo::tools {
namespace {

constexpr const char* kVerb = "izoctl kml";

constexpr const char* kHelp =
    "usage: izoctl kml [OPTION]... PATH\n"
    "\n"
    "Prints the records of a log, one a line. PATH is the mount point of a fileset, a log's file, "
    "-\n"
    "for a copy of one on standard input, or an unmounted cache: an image, a device or a folder.\n"
    "\n"
    "  --json           as JSON, everything in the record\n"
    "  --follow         go on with records as they are committed, until SIGINT or SIGTERM\n"
    "  --from=OFFSET    begin with the record that stands at this offset\n"
    "  --recno=N        begin with this number\n"
    "  --count=N        end after so many records\n"
    "  --fileset=NAME   of a PATH that has several\n"
    "  -h, --help\n"
    "\n"
    "Exit codes: 0 done; 1 failed; 2 wrong usage; 3 the log is damaged; 4 records that were asked\n"
    "for are gone. See izoctl(8).\n";

struct Options {
  std::string path;
  std::optional<std::string> fileset;
  bool json = false;
  bool follow = false;
  std::optional<std::uint64_t> from;
  std::optional<std::uint64_t> recno;
  std::optional<std::uint64_t> count;
};

/// An option with a number, `least` or more.
CommandOption number(const std::string& name, std::uint64_t least,
                     std::optional<std::uint64_t>& out) {
  return {name, true, [name, least, &out](const std::string& value) {
            std::uint64_t number = 0;
            const char* const after = value.data() + value.size();
            const auto [end, error] = std::from_chars(value.data(), after, number);
            if (error != std::errc{} || end != after || number < least) {
              return "--" + name + "=" + value + ": give a number from " + std::to_string(least);
            }
            out = number;
            return std::string();
          }};
}

/// Fills in `options`; an exit code if the program ends here.
std::optional<int> take(int argc, char** argv, Options& options) {
  const auto parsed =
      parse({.name = kVerb,
             .help = kHelp,
             .operand = "PATH",
             .options = {flag("json", options.json), flag("follow", options.follow),
                         number("from", 0, options.from), number("recno", 1, options.recno),
                         number("count", 1, options.count), fileset_option(options.fileset)}},
            argc, argv);
  if (const auto* said = std::get_if<Said>(&parsed)) {
    return print(*said);
  }
  options.path = std::get<std::vector<std::string>>(parsed)[0];
  if (options.from && options.recno) {
    return print(wrong_usage(kVerb, "--from and --recno are two ways to say where to begin"));
  }
  return std::nullopt;
}

/// Prints what is asked for of one log.
class Printer {
 public:
  /// `followed`: the log again, if more is to be waited for, and `signals` that end it; or nullptr.
  Printer(const Options& options, LogSource& log, MountedLog* followed, const StopSignals* signals)
      : options_(options),
        log_(log),
        followed_(followed),
        signals_(signals),
        output_(signals != nullptr ? signals->fd() : -1),
        header_(log.header()),
        reader_(start()) {}

  int run() {
    if (!log_.warning().empty()) {
      say(log_.warning());
    }
    try {
      const int code = print_all();
      output_.flush();
      say_overflow();
      return code == kDone && lost_ ? kGone : code;
    } catch (...) {
      output_.flush();
      throw;
    }
  }

 private:
  void say(const std::string& what) {
    output_.flush();
    std::cerr << "izoctl: " << options_.path << ": " << what << '\n';
  }

  void say_overflow() {
    if (!overflow_said_ && (log_.header().flags & IZO_KML_H_OVERFLOW) != 0) {
      overflow_said_ = true;
      say("the log overflowed: changes after its last record are not in it");
    }
  }

  kml::Position start() {
    if (options_.recno && *options_.recno < header_.first_recno) {
      lost_ = true;
      say("records before " + std::to_string(header_.first_recno) + " are gone");
    }
    if (!options_.from || (*options_.from < header_.first && header_.first_recno == 1)) {
      return {header_.epoch, header_.first, header_.first_recno};
    }
    if (*options_.from < header_.first) {
      lost_ = true;
      say("what stood before offset " + std::to_string(header_.first) + ", record " +
          std::to_string(header_.first_recno) + ", is gone");
      return {header_.epoch, header_.first, header_.first_recno};
    }
    return {header_.epoch, *options_.from, 0};
  }

  /// Returns whether more is wanted.
  bool print(const kml::Record& record) {
    if (options_.recno && record.recno < *options_.recno) {
      return true;
    }
    printed_++;
    const bool taken =
        output_.line(options_.json ? to_json(record).dump() : kml::to_text(record, header_.self));
    return taken && printed_ != options_.count;
  }

  int print_all() {
    for (;;) {
      kml::StreamReader::Next next = reader_.next();
      if (const auto* record = std::get_if<kml::Record>(&next)) {
        any_ = true;
        if (!print(*record)) {
          return kDone;
        }
      } else if (const auto* corrupt = std::get_if<kml::Corrupt>(&next)) {
        return ended_at(corrupt->what);
      } else if (const std::optional<int> code = read_more()) {
        return *code;
      }
    }
  }

  /// All records have been seen.
  int at_end() {
    const std::uint64_t next = reader_.position().recno;
    if (options_.recno && *options_.recno > next) {
      say("record " + std::to_string(*options_.recno) +
          " lies beyond the log's end: the next one will be " + std::to_string(next));
      return kFailed;
    }
    return kDone;
  }

  /// No record stands here.
  int ended_at(const std::string& what) {
    const bool sought = options_.from && !any_;
    if (!sought && log_.may_end_at(reader_.position().offset)) {
      return at_end();
    }
    say(what + (sought ? "; does a record begin there?" : ""));
    return kTrouble;
  }

  /// An exit code if there is no more.
  std::optional<int> read_more() {
    if (signals_ != nullptr && signals_->asked()) {
      return kDone;
    }
    const std::uint64_t offset = reader_.position().offset + reader_.waiting();
    const std::optional<std::size_t> count = log_.read(offset, buffer_);
    if (!count) {
      skip_what_is_gone();
      return std::nullopt;
    }
    if (*count != 0) {
      reader_.feed(std::span(buffer_).first(*count));
      return std::nullopt;
    }
    if (reader_.waiting() != 0) {
      return ended_at("offset " + std::to_string(reader_.position().offset) +
                      ": cut off within a record");
    }
    return followed_ != nullptr ? wait(offset) : at_end();
  }

  /// While it was read the log was trimmed.
  void skip_what_is_gone() {
    const std::uint64_t due = reader_.position().recno;
    header_ = log_.header();
    if (header_.first <= reader_.position().offset) {
      throw Error(options_.path + ": offset " + std::to_string(reader_.position().offset) +
                  " cannot be read, though the log begins before it");
    }
    say((due == 0 ? "what stood before record " + std::to_string(header_.first_recno) + " is gone"
                  : "records " + std::to_string(due) + " to " +
                        std::to_string(header_.first_recno - 1) + " are gone") +
        ": the log was trimmed");
    lost_ = true;
    reader_ = kml::StreamReader(kml::Position{header_.epoch, header_.first, header_.first_recno});
  }

  std::optional<int> wait(std::uint64_t offset) {
    if (!output_.flush()) {
      return kDone;
    }
    say_overflow();
    const MountedLog::Wait outcome = followed_->wait(offset, signals_->fd());
    if (outcome == MountedLog::Wait::kStopped) {
      return kDone;
    }
    if (outcome == MountedLog::Wait::kMore) {
      return std::nullopt;
    }
    say("the log has failed and the fileset is read-only: nothing more will come");
    return kFailed;
  }

  const Options& options_;
  LogSource& log_;
  MountedLog* followed_;
  const StopSignals* signals_;
  Output output_;
  kml::Header header_;
  bool lost_ = false;
  bool any_ = false;
  bool overflow_said_ = false;
  std::uint64_t printed_ = 0;
  kml::StreamReader reader_;
  std::array<std::byte, 1 << 16> buffer_{};
};

}  // namespace

int izoctl_kml(int argc, char** argv) {
  Options options;
  if (const std::optional<int> code = take(argc, argv, options)) {
    return *code;
  }
  try {
    const std::unique_ptr<LogSource> log = open_log(options.path, options.fileset.value_or(""));
    if (!options.follow) {
      return Printer(options, *log, nullptr, nullptr).run();
    }
    auto* mounted = dynamic_cast<MountedLog*>(log.get());
    if (mounted == nullptr) {
      throw Error(options.path + ": only the log of a mounted fileset can be followed");
    }
    const StopSignals signals;
    return Printer(options, *log, mounted, &signals).run();
  } catch (const Damaged& damage) {
    std::cerr << "izoctl: " << damage.what() << '\n';
    return kTrouble;
  }
}

}  // namespace izo::tools
