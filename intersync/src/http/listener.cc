// SPDX-License-Identifier: GPL-2.0
#include "http/listener.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <array>

#include "base/error.h"

namespace izo::http {
namespace {

constexpr int kBacklog = 128;

UniqueFd bind_and_listen(const sockaddr* address, socklen_t length, const std::string& name) {
  UniqueFd fd(checked(::socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0),
                      "socket", name));
  const int on = 1;
  // After a restart old connections may still be in TIME_WAIT.
  checked(::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), "setsockopt", name);
  if (address->sa_family == AF_INET6) {
    const int only =
        IN6_IS_ADDR_UNSPECIFIED(&reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr) ? 0 : 1;
    checked(::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only)), "setsockopt",
            name);
  }
  checked(::bind(fd.get(), address, length), "bind", name);
  checked(::listen(fd.get(), kBacklog), "listen", name);
  return fd;
}

UniqueFd listen_on_ipv4(in_addr address, std::uint16_t port, const std::string& name) {
  sockaddr_in full{};
  full.sin_family = AF_INET;
  full.sin_port = htons(port);
  full.sin_addr = address;
  return bind_and_listen(reinterpret_cast<const sockaddr*>(&full), sizeof(full), name);
}

UniqueFd listen_on_ipv6(const in6_addr& address, std::uint16_t port, const std::string& name) {
  sockaddr_in6 full{};
  full.sin6_family = AF_INET6;
  full.sin6_port = htons(port);
  full.sin6_addr = address;
  return bind_and_listen(reinterpret_cast<const sockaddr*>(&full), sizeof(full), name);
}

}  // namespace

UniqueFd listen_on(const std::string& address, std::uint16_t port) {
  const std::string name = (address.empty() ? "*" : address) + ":" + std::to_string(port);
  in_addr ipv4{};
  if (::inet_pton(AF_INET, address.c_str(), &ipv4) == 1) {
    return listen_on_ipv4(ipv4, port, name);
  }
  in6_addr ipv6 = IN6ADDR_ANY_INIT;
  if (!address.empty()) {
    if (::inet_pton(AF_INET6, address.c_str(), &ipv6) != 1) {
      throw Error(address + ": not a numeric address");
    }
    return listen_on_ipv6(ipv6, port, name);
  }
  try {
    return listen_on_ipv6(ipv6, port, name);
  } catch (const SysError& error) {
    if (error.code() != EAFNOSUPPORT && error.code() != EADDRNOTAVAIL) {
      throw;
    }
  }
  ipv4.s_addr = htonl(INADDR_ANY);
  return listen_on_ipv4(ipv4, port, name);
}

std::uint16_t port_of(int socket) {
  sockaddr_storage address{};
  socklen_t length = sizeof(address);
  checked(::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &length), "getsockname");
  return ntohs(address.ss_family == AF_INET6
                   ? reinterpret_cast<const sockaddr_in6*>(&address)->sin6_port
                   : reinterpret_cast<const sockaddr_in*>(&address)->sin_port);
}

std::string to_string(const sockaddr* address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (address != nullptr && address->sa_family == AF_INET) {
    ::inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(address)->sin_addr, text.data(),
                text.size());
  } else if (address != nullptr && address->sa_family == AF_INET6) {
    const in6_addr& ipv6 = reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr;
    if (IN6_IS_ADDR_V4MAPPED(&ipv6)) {
      ::inet_ntop(AF_INET, &ipv6.s6_addr[12], text.data(), text.size());
    } else {
      ::inet_ntop(AF_INET6, &ipv6, text.data(), text.size());
    }
  }
  return text.data();
}

}  // namespace izo::http
