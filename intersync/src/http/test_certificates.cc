// SPDX-License-Identifier: GPL-2.0
#include "http/test_certificates.h"

#include <cstdlib>
#include <fstream>

#include "base/error.h"

namespace izo::http {

TestAuthority::TestAuthority() {
  std::ofstream(folder_.file("authority.in"))
      << "cn = authority\nca\ncert_signing_key\nactivation_date = \"2020-01-01 00:00:00\"\n"
         "expiration_date = \"2120-01-01 00:00:00\"\n";
  run("--generate-privkey --key-type=ecdsa --outfile authority.key");
  run("--generate-self-signed --load-privkey authority.key --template authority.in"
      " --outfile authority.pem");
}

TlsConfig TestAuthority::issue(const std::string& name, const std::string& until) {
  std::ofstream(folder_.file(name + ".in"))
      << "cn = " << name
      << "\ntls_www_server\ntls_www_client\nsigning_key\nip_address = 127.0.0.1\n"
      << "activation_date = \"2020-01-01 00:00:00\"\nexpiration_date = \"" << until << "\"\n";
  run("--generate-privkey --key-type=ecdsa --outfile " + name + ".key");
  run("--generate-certificate --load-privkey " + name + ".key --load-ca-certificate authority.pem" +
      " --load-ca-privkey authority.key --template " + name + ".in --outfile " + name + ".pem");
  return {folder_.file(name + ".pem"), folder_.file(name + ".key"), path()};
}

void TestAuthority::run(const std::string& words) const {
  const std::string command =
      "cd " + folder_.path() + " && certtool " + words + " > certtool.log 2>&1";
  // NOLINTNEXTLINE(bugprone-command-processor): its words are in this file
  if (std::system(command.c_str()) != 0) {
    throw Error("certtool " + words + " failed; is gnutls-bin installed?");
  }
}

}  // namespace izo::http
