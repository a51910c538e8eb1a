// SPDX-License-Identifier: GPL-2.0
// intersync(8): keeps a mounted fileset the same on a server and its clients.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <exception>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/error.h"
#include "base/fs_at.h"
#include "base/log.h"
#include "base/main_loop.h"
#include "base/random.h"
#include "daemon/client_side.h"
#include "daemon/kernel_replica.h"
#include "daemon/log_follower.h"
#include "daemon/options.h"
#include "daemon/server_side.h"
#include "daemon/state_folder.h"
#include "http/client.h"
#include "http/server.h"
#include "kernel/channel.h"
#include "kernel/fileset.h"
#include "kernel/log_file.h"
#include "kml/tables.h"

namespace izo::daemon {
namespace {

/// Bodies on their way are open files.
void allow_many_files() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
  }
}

/// Also to FOLDER/NAME.log; without it the program goes on.
void open_log(const std::string& folder, const std::string& name) {
  if (folder.empty()) {
    return;
  }
  if (::mkdir(folder.c_str(), 0755) != 0 && errno != EEXIST) {
    log::warning(SysError(errno, "mkdir", folder).what(), "; the log is on stderr only");
    return;
  }
  try {
    log::logger().to_file(folder + "/" + name + ".log");
  } catch (const SysError& error) {
    log::warning(error.what(), "; the log is on stderr only");
  }
}

/// From here on the kernel may ask the daemon.
void clear_no_filter(unsigned channel) {
  const UniqueFd folder =
      open_directory("/proc/sys/intermezzo/intermezzo" + std::to_string(channel));
  const UniqueFd file(checked(::openat(folder.get(), "no_filter", O_WRONLY | O_CLOEXEC), "open",
                              "/proc/sys/intermezzo/*/no_filter"));
  checked(::write(file.get(), "0\n", 2), "write", "/proc/sys/intermezzo/*/no_filter");
}

class Daemon {
 public:
  explicit Daemon(const Options& options)
      : options_(options),
        fileset_(kernel::find_fileset(options.mount_point)),
        terminate_(loop_.on_signal(SIGTERM, [this] { loop_.quit(); })),
        interrupt_(loop_.on_signal(SIGINT, [this] { loop_.quit(); })),
        hang_up_(loop_.on_signal(SIGHUP, [this] { open_log(options_.log, log_name()); })),
        replica_(fileset_, options.server.empty() ? KernelReplica::Role::kServer
                                                  : KernelReplica::Role::kClient) {
    open_log(options_.log, log_name());
    const kernel::LogInfo state = kernel::LogFile(fileset_).info();
    log::debug(
        log::kInfo, "intersync " IZO_VERSION ", process ", ::getpid(), ", channel ",
        fileset_.channel, ", replica ", [&] { return kml::to_string(state.replica); }, ", records ",
        state.first_recno, "..", state.end_recno);
  }

  void run() {
    log::warning("without encryption: anybody on the network can read and write everything");
    // First: whoever has not the channel has nothing to serve.
    follow();
    write_state_folder(options_.state, fileset_, kernel::LogFile(fileset_).info());
    if (options_.server.empty()) {
      serve();
    } else {
      connect();
    }
    clear_no_filter(fileset_.channel);
    ::sd_notify(0, "READY=1");
    if (client_) {
      client_->step();
    }
    loop_.run();
    ::sd_notify(0, "STOPPING=1");
    log::info("stops");
  }

 private:
  /// Server and client of one machine may have filesets of one name.
  [[nodiscard]] std::string log_name() const {
    return "intermezzo-" + std::to_string(fileset_.channel);
  }

  void serve() {
    server_ = std::make_unique<ServerSide>(loop_, clock_, random_, replica_, fileset_.name,
                                           [this] { follower_->follow(); });
    listener_ = std::make_unique<http::Server>(
        loop_, http::PlainHttp(),
        http::Server::Options{.address = options_.listen, .port = options_.port},
        [this](http::Exchange exchange) { server_->handle(std::move(exchange)); });
    log::notice("serves fileset ", fileset_.name, " of ", fileset_.mount_point, " on port ",
                listener_->port());
  }

  void connect() {
    const std::string base = *base_url(options_.server);
    http_ = std::make_unique<http::Client>(loop_, base, http::PlainHttp(), http::Client::Options());
    client_ = std::make_unique<ClientSide>(loop_, random_, replica_, *http_, fileset_.name,
                                           [this] { follower_->follow(); });
    log::notice("fileset ", fileset_.name, " of ", fileset_.mount_point, " is a client of ", base);
  }

  void follow() {
    follower_ = std::make_unique<LogFollower>(
        loop_, clock_, fileset_.name, kernel::Channel(fileset_.channel),
        LogFollower::Delays{.commit = options_.commit_delay},
        LogFollower::Events{
            .grew =
                [this] {
                  if (server_) {
                    server_->log_grew();
                  } else {
                    client_->log_grew();
                  }
                },
            .is_followed =
                [this] { return server_ ? server_->is_followed() : client_->is_followed(); },
            .commit = [this] { replica_.commit(); },
            .gone =
                [this] {
                  log::notice("the fileset is not mounted any more");
                  loop_.quit();
                }});
  }

  Options options_;
  SystemClock clock_;
  SystemRandom random_;
  MainLoop loop_;
  kernel::Fileset fileset_;
  MainLoop::Handle terminate_;
  MainLoop::Handle interrupt_;
  MainLoop::Handle hang_up_;
  KernelReplica replica_;
  std::unique_ptr<ServerSide> server_;
  std::unique_ptr<http::Server> listener_;
  std::unique_ptr<http::Client> http_;
  std::unique_ptr<ClientSide> client_;
  std::unique_ptr<LogFollower> follower_;
};

int run(int argc, char** argv) {
  std::variant<Options, Said> options = options_from(argc, argv);
  if (const auto* said = std::get_if<Said>(&options)) {
    return print(*said);
  }
  std::signal(SIGPIPE, SIG_IGN);
  log::set_topics(std::get<Options>(options).debug);
  allow_many_files();
  Daemon daemon(std::get<Options>(options));
  daemon.run();
  return 0;
}

}  // namespace
}  // namespace izo::daemon

int main(int argc, char** argv) {
  try {
    return izo::daemon::run(argc, argv);
  } catch (const std::exception& error) {
    izo::log::error(error.what());
    return 1;
  }
}
