// SPDX-License-Identifier: GPL-2.0
#include "http/message.h"

#include <algorithm>

namespace izo::http {
namespace {

char lower(char letter) {
  return letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter - 'A' + 'a') : letter;
}

bool is_token(char letter) {
  constexpr std::string_view kOthers = "!#$%&'*+-.^_`|~";
  const char small = lower(letter);
  return (small >= 'a' && small <= 'z') || (letter >= '0' && letter <= '9') ||
         kOthers.find(letter) != std::string_view::npos;
}

bool is_text(char letter) {
  const auto byte = static_cast<unsigned char>(letter);
  return letter == '\t' || (byte >= 0x20 && byte != 0x7f);
}

}  // namespace

std::string_view name_of(Method method) {
  return method == Method::kGet ? "GET" : "POST";
}

const std::string* find(const Headers& headers, std::string_view name) {
  const auto same = [](char one, char other) { return lower(one) == lower(other); };
  const auto found = std::find_if(headers.begin(), headers.end(), [&](const Header& header) {
    return std::equal(header.name.begin(), header.name.end(), name.begin(), name.end(), same);
  });
  return found == headers.end() ? nullptr : &found->value;
}

bool is_valid(const Header& header) {
  return !header.name.empty() && std::all_of(header.name.begin(), header.name.end(), is_token) &&
         std::all_of(header.value.begin(), header.value.end(), is_text);
}

}  // namespace izo::http
