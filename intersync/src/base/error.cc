// SPDX-License-Identifier: GPL-2.0
#include "base/error.h"

#include <system_error>

namespace izo {
namespace {

std::string describe(int error, std::string_view call, std::string_view path) {
  std::string text(call);
  if (!path.empty()) {
    text.append(" ").append(path);
  }
  // Unlike strerror(3) it may be called by several threads.
  return text.append(": ").append(std::generic_category().message(error));
}

}  // namespace

SysError::SysError(int error, std::string_view call, std::string_view path)
    : Error(describe(error, call, path)), code_(error) {}

}  // namespace izo
