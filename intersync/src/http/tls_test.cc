// SPDX-License-Identifier: GPL-2.0
// Who gets in with TLS, and who is told what.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "base/error.h"
#include "http/test_certificates.h"
#include "http/test_peers.h"

namespace izo::http {
namespace {

using How = Outcome::How;

class Tls : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    ours_ = new TestAuthority;
    others_ = new TestAuthority;
  }
  static void TearDownTestSuite() {
    delete ours_;
    delete others_;
  }

  /// What a client with `client` gets from a server with `server`.
  Collected talk(const TlsConfig& server, const TlsConfig& client,
                 const std::string& host = "127.0.0.1") {
    MainLoop loop;
    const Server serving(loop, server, {.address = "127.0.0.1"}, [&](Exchange exchange) {
      reached_++;
      key_ = exchange.request().key;
      exchange.answer(text_answer(std::string(200000, 'x')));
    });
    Client asking(loop, "https://" + host + ":" + std::to_string(serving.port()), client, {});
    const std::optional<Collected> got = collect(loop, asking, {.target = "/x"});
    EXPECT_TRUE(got);
    return got.value_or(Collected{});
  }

  static TestAuthority* ours_;
  static TestAuthority* others_;
  int reached_ = 0;
  std::optional<KeyId> key_;
};

TestAuthority* Tls::ours_ = nullptr;
TestAuthority* Tls::others_ = nullptr;

TEST_F(Tls, BothSidesWithCertificatesOfOneAuthority) {
  const TlsConfig server = ours_->issue("server");
  const TlsConfig client = ours_->issue("client");
  const Collected got = talk(server, client);
  EXPECT_EQ(got.outcome.how, How::kComplete) << got.outcome.error;
  EXPECT_EQ(got.body.size(), 200000U);
  ASSERT_TRUE(key_);
  const KeyId first = *key_;
  talk(server, client);
  EXPECT_EQ(*key_, first);
  talk(server, ours_->issue("another"));
  EXPECT_NE(*key_, first);
}

TEST_F(Tls, AClientOfAnotherAuthorityIsRefused) {
  TlsConfig client = others_->issue("client");
  client.authority = ours_->path();
  const Collected got = talk(ours_->issue("server"), client);
  EXPECT_NE(got.outcome.how, How::kComplete);
  EXPECT_EQ(reached_, 0);
  EXPECT_EQ(got.body, "");
}

TEST_F(Tls, AServerOfAnotherAuthorityIsRefused) {
  TlsConfig server = others_->issue("server");
  server.authority = ours_->path();
  const Collected got = talk(server, ours_->issue("client"));
  EXPECT_EQ(got.outcome.how, How::kUnreachable);
  EXPECT_EQ(reached_, 0);
}

TEST_F(Tls, AServerByAnotherNameIsRefused) {
  const Collected got = talk(ours_->issue("server"), ours_->issue("client"), "localhost");
  EXPECT_EQ(got.outcome.how, How::kUnreachable);
  EXPECT_EQ(reached_, 0);
}

TEST_F(Tls, AnExpiredClientIsRefused) {
  const Collected got = talk(ours_->issue("server"), ours_->issue("old", "2020-02-01 00:00:00"));
  EXPECT_NE(got.outcome.how, How::kComplete);
  EXPECT_EQ(reached_, 0);
}

TEST_F(Tls, AClientWithoutACertificateIsRefused) {
  // One that has only heard of the authority: curl cannot be told that by TlsConfig.
  MainLoop loop;
  const Server serving(loop, ours_->issue("server"), {.address = "127.0.0.1"},
                       [&](const Exchange&) { reached_++; });
  const TemporaryFolder folder;
  std::thread thread([&] {
    const std::string command =
        "printf 'GET /x HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n' | gnutls-cli --x509cafile " +
        ours_->path() + " -p " + std::to_string(serving.port()) + " 127.0.0.1 > " +
        folder.file("out") + " 2>&1";
    // Its code is 0 as soon as its own side of the handshake is done.
    // NOLINTNEXTLINE(bugprone-command-processor): its words are here
    EXPECT_NE(std::system(command.c_str()), -1);
    loop.quit();
  });
  loop.run();
  thread.join();
  std::ostringstream said;
  said << std::ifstream(folder.file("out")).rdbuf();
  // By the alert, or without it: what the client still sends makes the kernel answer with a reset,
  // which may overtake the alert.
  EXPECT_TRUE(said.str().find("Peer has closed") != std::string::npos ||
              said.str().find("*** Fatal error") != std::string::npos)
      << said.str();
  EXPECT_EQ(said.str().find("HTTP/1.1"), std::string::npos) << said.str();
  EXPECT_EQ(reached_, 0);
}

TEST_F(Tls, PlainHttpGetsNothing) {
  MainLoop loop;
  const Server serving(loop, ours_->issue("server"), {.address = "127.0.0.1"},
                       [&](const Exchange&) { reached_++; });
  Client asking(loop, "http://127.0.0.1:" + std::to_string(serving.port()), PlainHttp(), {});
  const std::optional<Collected> got = collect(loop, asking, {.target = "/x"});
  ASSERT_TRUE(got);
  EXPECT_EQ(got->outcome.how, How::kBroken);
  EXPECT_EQ(reached_, 0);
}

TEST_F(Tls, MissingFilesAreNamed) {
  MainLoop loop;
  TlsConfig config = ours_->issue("server");
  config.key = "/nonexistent/key.pem";
  try {
    const Server serving(loop, config, {.address = "127.0.0.1"}, [](const Exchange&) {});
    FAIL();
  } catch (const SysError& error) {
    EXPECT_NE(std::string(error.what()).find("/nonexistent"), std::string::npos) << error.what();
  }
  config = ours_->issue("server");
  config.key = others_->issue("other").key;
  EXPECT_THROW(Server(loop, config, {.address = "127.0.0.1"}, [](const Exchange&) {}), Error);
  config = ours_->issue("client");
  config.certificate = "/nonexistent/certificate.pem";
  const Collected got = talk(ours_->issue("server"), config);
  EXPECT_EQ(got.outcome.how, How::kUnreachable);
  EXPECT_EQ(reached_, 0);
}

}  // namespace
}  // namespace izo::http
