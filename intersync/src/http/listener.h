// SPDX-License-Identifier: GPL-2.0
// The socket on which a server listens.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <string>

#include "base/unique_fd.h"

namespace izo::http {

/// Listens on a numeric address; empty: on all, IPv6 and IPv4, or IPv4 alone where the kernel has
/// no IPv6. Port 0: any that is free. Throws SysError, or Error for what is no address.
UniqueFd listen_on(const std::string& address, std::uint16_t port);

/// The port of a socket that listens.
std::uint16_t port_of(int socket);

/// The numeric form of an address, without its port; an IPv4 client of an IPv6 socket by its IPv4
/// address.
std::string to_string(const sockaddr* address);

}  // namespace izo::http
