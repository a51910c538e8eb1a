// SPDX-License-Identifier: GPL-2.0
#include "http/test_peers.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>

#include "base/error.h"
#include "http/listener.h"

namespace izo::http {
namespace {

void set_limit(int fd) {
  const timeval limit{.tv_sec = kLimit.count(), .tv_usec = 0};
  checked(::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), "setsockopt");
  checked(::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)), "setsockopt");
}

}  // namespace

RawConnection::RawConnection(std::uint16_t port)
    : fd_(checked(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket")) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  set_limit(fd_.get());
  checked(::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)),
          "connect");
}

RawConnection::RawConnection(UniqueFd fd) : fd_(std::move(fd)) {
  set_limit(fd_.get());
}

bool RawConnection::send(std::string_view text) const {
  while (!text.empty()) {
    const ssize_t sent = ::send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL);
    if (sent < 0) {
      return false;
    }
    text.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

std::string RawConnection::read_until(std::string_view end) const {
  std::string text;
  std::array<char, 65536> buffer{};
  while (end.empty() || !text.ends_with(end)) {
    // By single bytes if an end is looked for, so that nothing behind it is taken.
    const ssize_t got = ::recv(fd_.get(), buffer.data(), end.empty() ? buffer.size() : 1, 0);
    if (got <= 0) {
      break;
    }
    text.append(buffer.data(), static_cast<std::size_t>(got));
  }
  return text;
}

RawServer::RawServer(Script script)
    : script_(std::move(script)),
      socket_(listen_on("127.0.0.1", 0)),
      thread_([this] { serve(); }) {}

RawServer::~RawServer() {
  stop_ = true;
  ::shutdown(socket_.get(), SHUT_RDWR);  // wakes accept(2)
  thread_.join();
}

std::string RawServer::base() const {
  return "http://127.0.0.1:" + std::to_string(port_of(socket_.get()));
}

void RawServer::serve() {
  while (!stop_) {
    UniqueFd fd(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!fd) {
      continue;
    }
    accepted_++;
    const RawConnection connection(std::move(fd));
    script_(connection, connection.read_until("\r\n\r\n"));
  }
}

std::optional<Collected> collect(MainLoop& loop, Client& client, Request request) {
  Collected collected;
  bool done = false;
  const Client::Transfer transfer =
      client.start(std::move(request), {.head =
                                            [&](const AnswerHead&) {
                                              collected.heads++;
                                              return true;
                                            },
                                        .data =
                                            [&](Bytes bytes) {
                                              collected.body += as_text(bytes);
                                              return true;
                                            },
                                        .done =
                                            [&](const Outcome& outcome) {
                                              collected.outcome = outcome;
                                              done = true;
                                            }});
  if (!loop.run_until([&] { return done; }, kLimit)) {
    return std::nullopt;
  }
  return collected;
}

TestPair::TestPair(Server::Handler handler, Server::Options options, Client::Options client_options)
    : server(
          loop, PlainHttp(),
          [&] {
            options.address = "127.0.0.1";
            return options;
          }(),
          std::move(handler)),
      client(loop, base(), PlainHttp(), client_options) {}

std::string TestPair::base() const {
  return "http://127.0.0.1:" + std::to_string(server.port());
}

bool TestPair::during(const std::function<void()>& function) {
  std::atomic<bool> over{false};
  std::thread thread([&] {
    function();
    loop.post([&] { over = true; });
  });
  const bool held = until([&] { return over.load(); });
  thread.join();
  return held;
}

std::vector<std::byte> bytes_of(std::string_view text) {
  const Bytes bytes = as_bytes(text);
  return {bytes.begin(), bytes.end()};
}

Answer text_answer(std::string_view text, int status) {
  return {.status = status, .body = bytes_of(text)};
}

}  // namespace izo::http
