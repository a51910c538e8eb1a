// SPDX-License-Identifier: GPL-2.0
// For tests: certificates, made by certtool.
#pragma once

#include <string>

#include "base/temporary_folder.h"
#include "http/message.h"

namespace izo::http {

/// An authority, and what it has signed.
class TestAuthority {
 public:
  /// Throws Error if certtool does not do it.
  TestAuthority();

  /// A new key and a certificate for it, good for a client and for the server 127.0.0.1, from 2020
  /// until then (as certtool takes it).
  TlsConfig issue(const std::string& name, const std::string& until = "2120-01-01 00:00:00");
  [[nodiscard]] std::string path() const { return folder_.file("authority.pem"); }

 private:
  void run(const std::string& words) const;

  TemporaryFolder folder_;
};

}  // namespace izo::http
