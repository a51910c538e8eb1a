// SPDX-License-Identifier: GPL-2.0
// What both sides of HTTP/1.1 share: methods, header fields, limits, who may talk to whom.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace izo::http {

enum class Method { kGet, kPost };

/// "GET" or "POST".
std::string_view name_of(Method method);

struct Header {
  std::string name;
  std::string value;

  bool operator==(const Header&) const = default;
};

using Headers = std::vector<Header>;

/// The value of the first field of that name, in any case of letters; null if there is none.
const std::string* find(const Headers& headers, std::string_view name);

/// May it go over the wire as it is? A name is a token (RFC 9110), a value has no control character
/// but the tabulator, so that nothing in it ends the line.
bool is_valid(const Header& header);

/// The longest body of a request. What is more goes in several requests.
inline constexpr std::size_t kMaxRequestBody = std::size_t{4} << 20;
/// The most that the head of an answer may have.
inline constexpr std::size_t kMaxHeadBytes = std::size_t{64} << 10;
inline constexpr std::size_t kMaxHeadFields = 100;

/// Paths of PEM files. Both sides show a certificate, and trust those that `authority` has signed,
/// no others.
struct TlsConfig {
  std::string certificate;
  std::string key;
  std::string authority;
};

/// No encryption, and anybody may be anybody. Must be asked for by name.
struct PlainHttp {};

using Security = std::variant<TlsConfig, PlainHttp>;

}  // namespace izo::http
