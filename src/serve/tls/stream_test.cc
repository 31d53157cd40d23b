#include "serve/tls/stream.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <boost/asio/io_context.hpp>
#include <future>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "serve/tls/test_certificates_test.h"
#include "serve/tls/tls_context.h"

namespace verdict {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

/// What became of a connection, as the server saw it.
struct Outcome {
  error_code handshake;
  error_code end;
  std::string reason;
  std::vector<std::string> names;
  size_t reads = 0;
};

/// Serves one connection: sends back what it reads, a few bytes at a time, until the client ends.
class EchoServer {
 public:
  explicit EchoServer(std::shared_ptr<SSL_CTX> context, size_t read_bytes = 1000)
      : acceptor_(io_, tcp::endpoint(asio::ip::address_v4::loopback(), 0)), buffer_(read_bytes) {
    acceptor_.async_accept([this, context](const error_code& error, tcp::socket socket) {
      ASSERT_FALSE(error);
      socket.non_blocking(true);
      context == nullptr ? stream_.emplace(std::move(socket))
                         : stream_.emplace(std::move(socket), context);
      Handshake();
    });
    thread_ = std::thread([this] { io_.run(); });
  }
  ~EchoServer() {
    if (thread_.joinable()) thread_.join();
  }
  uint16_t port() { return acceptor_.local_endpoint().port(); }
  Outcome Join() {
    thread_.join();
    return outcome_;
  }

 private:
  void Handshake() {
    stream_->Handshake(outcome_.handshake);
    if (outcome_.handshake == asio::error::would_block) {
      return stream_->WaitHandshake([this](const error_code&) { Handshake(); });
    }
    outcome_.reason = stream_->reason();
    if (outcome_.handshake) return stream_.reset();
    outcome_.names = stream_->ClientNames();
    stream_->WaitRead([this](const error_code&) { Read(); });
  }
  void Read() {
    const size_t count = stream_->ReadSome(asio::buffer(buffer_), outcome_.end);
    ++outcome_.reads;
    if (outcome_.end == asio::error::would_block) {
      return stream_->WaitRead([this](const error_code&) { Read(); });
    }
    if (outcome_.end) {
      outcome_.reason = stream_->reason();
      error_code ignored;
      stream_->ShutdownSend(ignored);
      return stream_.reset();
    }
    pending_.append(buffer_.data(), count);
    Write();
  }
  void Write() {
    // In two parts, as a head and a body.
    const size_t half = pending_.size() / 2;
    const std::array<asio::const_buffer, 2> parts = {
        asio::buffer(pending_.data(), half),
        asio::buffer(pending_.data() + half, pending_.size() - half)};
    error_code error;
    pending_.erase(0, stream_->WriteSome(parts, error));
    if (error && error != asio::error::would_block) return stream_.reset();
    if (pending_.empty()) return stream_->WaitRead([this](const error_code&) { Read(); });
    stream_->WaitWrite([this](const error_code&) { Write(); });
  }

  asio::io_context io_{1};
  tcp::acceptor acceptor_;
  std::optional<Stream> stream_;
  std::vector<char> buffer_;
  std::string pending_;
  Outcome outcome_;
  std::thread thread_;
};

int Connect(uint16_t port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  const timeval patience{20, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  return fd;
}

/// A blocking TLS client.
class TlsClient {
 public:
  TlsClient() : context_(SSL_CTX_new(TLS_client_method())) {}
  ~TlsClient() {
    SSL_free(ssl_);
    SSL_CTX_free(context_);
    if (fd_ >= 0) ::close(fd_);
    SSL_SESSION_free(session_);
  }
  SSL_CTX* context() { return context_; }
  SSL* ssl() { return ssl_; }
  void Show(const TestIdentity& identity) {
    SSL_CTX_use_certificate(context_, identity.certificate);
    SSL_CTX_use_PrivateKey(context_, identity.key);
  }
  /// True if the handshake succeeds and the server answers: a server may refuse a client's
  /// certificate only after the client is done.
  bool Talk(uint16_t port, const std::string& text = "ping") {
    SSL_free(ssl_);
    if (fd_ >= 0) ::close(fd_);
    fd_ = Connect(port);
    ssl_ = SSL_new(context_);
    SSL_set_fd(ssl_, fd_);
    if (session_ != nullptr) SSL_set_session(ssl_, session_);
    const bool done = SSL_connect(ssl_) == 1 && Send(text) && Receive(text.size()) == text;
    ERR_clear_error();
    return done;
  }
  bool Send(const std::string& text) {
    size_t sent = 0;
    while (sent < text.size()) {
      const int count = SSL_write(ssl_, text.data() + sent, static_cast<int>(text.size() - sent));
      if (count <= 0) return false;
      sent += static_cast<size_t>(count);
    }
    return true;
  }
  std::string Receive(size_t size) {
    std::string text;
    char buffer[16384];
    while (text.size() < size) {
      const int count = SSL_read(ssl_, buffer, sizeof(buffer));
      if (count <= 0) break;
      text.append(buffer, static_cast<size_t>(count));
    }
    return text;
  }
  void KeepSession() { session_ = SSL_get1_session(ssl_); }
  void Goodbye() {
    SSL_shutdown(ssl_);
    ::shutdown(fd_, SHUT_WR);
  }
  void Vanish() { ::shutdown(fd_, SHUT_WR); }

 private:
  SSL_CTX* context_;
  SSL* ssl_ = nullptr;
  SSL_SESSION* session_ = nullptr;
  int fd_ = -1;
};

class StreamTest : public testing::Test {
 protected:
  StreamTest() {
    MakeIdentity({"test ca", ""}, nullptr, &ca_);
    MakeIdentity({"server", "DNS:localhost"}, &ca_, &server_);
    MakeIdentity({"checkout", "DNS:a.example,URI:spiffe://bank/checkout,email:a@b.example"}, &ca_,
                 &client_);
    folder_.Write("ca", ca_);
    folder_.Write("server", server_);
    options_.certificate_chain = folder_ / "server.crt";
    options_.private_key = folder_ / "server.key";
  }
  std::shared_ptr<SSL_CTX> Context() {
    const auto context = TlsContext::Load(options_, {"http/1.1"});
    EXPECT_TRUE(context.ok()) << context.status().message();
    return (*context)->Current();
  }
  void AskClients(ClientAuth auth) {
    options_.client_auth = auth;
    options_.client_ca = folder_ / "ca.crt";
  }
  static std::string Text(size_t size) {
    std::string text(size, '\0');
    for (size_t i = 0; i < size; ++i) text[i] = static_cast<char>('a' + i % 23 + (i >> 12) % 3);
    return text;
  }

  CertificateFolder folder_;
  TestIdentity ca_;
  TestIdentity server_;
  TestIdentity client_;
  TlsOptions options_;
};

TEST_F(StreamTest, PlainIsTheSocketItself) {
  EchoServer server(nullptr);
  const int fd = Connect(server.port());
  const std::string text = Text(5000);
  ASSERT_EQ(::send(fd, text.data(), text.size(), 0), 5000);
  std::string got;
  char buffer[5000];
  while (got.size() < text.size()) {
    const ssize_t count = ::recv(fd, buffer, sizeof(buffer), 0);
    ASSERT_GT(count, 0);
    got.append(buffer, static_cast<size_t>(count));
  }
  EXPECT_EQ(got, text);
  ::close(fd);
  const Outcome outcome = server.Join();
  EXPECT_FALSE(outcome.handshake);
  EXPECT_EQ(outcome.end, asio::error::eof);
}

TEST_F(StreamTest, SpeaksTls13And12) {
  for (int version : {TLS1_3_VERSION, TLS1_2_VERSION}) {
    EchoServer server(Context());
    TlsClient client;
    SSL_CTX_set_max_proto_version(client.context(), version);
    EXPECT_TRUE(client.Talk(server.port()));
    EXPECT_EQ(SSL_version(client.ssl()), version);
    client.Goodbye();
    const Outcome outcome = server.Join();
    EXPECT_EQ(outcome.end, asio::error::eof);
    EXPECT_THAT(outcome.names, IsEmpty());
  }
}

TEST_F(StreamTest, PassesOnWhatTlsHasAlreadyTakenFromTheSocket) {
  // Read in pieces far smaller than a record; the socket itself has nothing more to say.
  EchoServer server(Context(), 100);
  TlsClient client;
  const std::string text = Text(16'000);
  ASSERT_TRUE(client.Talk(server.port()));
  ASSERT_TRUE(client.Send(text));
  EXPECT_EQ(client.Receive(text.size()), text);
  client.Goodbye();
  EXPECT_GE(server.Join().reads, 160U);
}

TEST_F(StreamTest, KeepsTheOrderOfBytesWhileTheSocketIsFull) {
  asio::io_context io{1};
  tcp::acceptor acceptor(io, tcp::endpoint(asio::ip::address_v4::loopback(), 0));
  const std::string head = Text(100);
  const std::string body = Text(4'000'000);
  TlsClient client;
  auto received = std::async(std::launch::async, [&] {
    if (!client.Talk(acceptor.local_endpoint().port())) return std::string("no handshake");
    std::this_thread::sleep_for(std::chrono::milliseconds(50));  // let it fill up
    return client.Receive(head.size() + body.size());
  });
  tcp::socket socket = acceptor.accept();
  socket.set_option(tcp::socket::send_buffer_size(32 << 10));
  Stream stream(std::move(socket), Context());
  error_code error;
  do {
    stream.Handshake(error);
  } while (error == asio::error::would_block);
  ASSERT_FALSE(error);
  std::string ping(4, '\0');
  do {
    stream.ReadSome(asio::buffer(ping), error);
  } while (error == asio::error::would_block);
  std::array<asio::const_buffer, 1> pong = {asio::buffer(ping)};
  ASSERT_EQ(stream.WriteSome(pong, error), 4U);
  size_t sent = 0;
  size_t blocked = 0;
  size_t most = 0;
  while (sent < head.size() + body.size()) {
    const size_t head_sent = std::min(sent, head.size());
    const std::array<asio::const_buffer, 2> rest = {asio::buffer(head) + head_sent,
                                                    asio::buffer(body) + (sent - head_sent)};
    const size_t count = stream.WriteSome(rest, error);
    ASSERT_TRUE(!error || error == asio::error::would_block) << error.message();
    blocked += error == asio::error::would_block ? 1 : 0;
    most = std::max(most, count);
    sent += count;
  }
  EXPECT_EQ(received.get(), head + body);
  EXPECT_GT(blocked, 0U) << "the test did not fill the socket";
  EXPECT_LE(most, size_t{272} << 10) << "one call must leave the thread to others";
}

TEST_F(StreamTest, SendsHeadAndBodyInOneRecord) {
  EchoServer server(Context());
  TlsClient client;
  ASSERT_TRUE(client.Talk(server.port()));
  ASSERT_TRUE(client.Send("headbody"));
  char buffer[100];
  EXPECT_EQ(SSL_read(client.ssl(), buffer, sizeof(buffer)), 8);
  client.Goodbye();
}

TEST_F(StreamTest, TakesAHandshakeByteByByte) {
  EchoServer server(Context());
  const int fd = Connect(server.port());
  SSL_CTX* context = SSL_CTX_new(TLS_client_method());
  SSL* ssl = SSL_new(context);
  BIO* in = BIO_new(BIO_s_mem());
  BIO* out = BIO_new(BIO_s_mem());
  SSL_set_bio(ssl, in, out);
  SSL_set_connect_state(ssl);
  const auto flush = [&] {
    char byte;
    while (BIO_read(out, &byte, 1) == 1) ASSERT_EQ(::send(fd, &byte, 1, MSG_NOSIGNAL), 1);
  };
  while (SSL_do_handshake(ssl) != 1) {
    flush();
    char byte;
    ASSERT_EQ(::recv(fd, &byte, 1, 0), 1);
    BIO_write(in, &byte, 1);
  }
  flush();
  SSL_write(ssl, "x", 1);
  flush();
  char byte = 0;
  int count;
  while ((count = SSL_read(ssl, &byte, 1)) != 1) {
    char raw;
    ASSERT_EQ(::recv(fd, &raw, 1, 0), 1);
    BIO_write(in, &raw, 1);
  }
  EXPECT_EQ(byte, 'x');
  ::close(fd);
  SSL_free(ssl);
  SSL_CTX_free(context);
  EXPECT_FALSE(server.Join().handshake);
}

TEST_F(StreamTest, KnowsAVerifiedClientByItsNames) {
  for (ClientAuth auth : {ClientAuth::kOptional, ClientAuth::kRequired}) {
    AskClients(auth);
    for (int version : {TLS1_3_VERSION, TLS1_2_VERSION}) {
      EchoServer server(Context());
      TlsClient client;
      SSL_CTX_set_max_proto_version(client.context(), version);
      client.Show(client_);
      EXPECT_TRUE(client.Talk(server.port()));
      client.Goodbye();
      EXPECT_THAT(server.Join().names,
                  ElementsAre("cn:checkout", "dns:a.example", "uri:spiffe://bank/checkout",
                              "email:a@b.example"));
    }
  }
}

TEST_F(StreamTest, RefusesBadClientCertificates) {
  TestIdentity stranger;  // signed by itself, with a name that is known
  MakeIdentity({"checkout", "DNS:a.example"}, nullptr, &stranger);
  TestIdentity expired;
  MakeIdentity({"checkout", "DNS:a.example", -7200, -3600}, &ca_, &expired);
  for (ClientAuth auth : {ClientAuth::kOptional, ClientAuth::kRequired}) {
    AskClients(auth);
    for (const TestIdentity* identity : {&stranger, &expired}) {
      EchoServer server(Context());
      TlsClient client;
      client.Show(*identity);
      EXPECT_FALSE(client.Talk(server.port()));
      const Outcome outcome = server.Join();
      EXPECT_TRUE(outcome.handshake);
      EXPECT_EQ(outcome.reason, "certificate verify failed");
      EXPECT_THAT(outcome.names, IsEmpty());
    }
  }
}

TEST_F(StreamTest, AClientWithoutACertificateMayEnterOnlyIfItIsOptional) {
  AskClients(ClientAuth::kOptional);
  {
    EchoServer server(Context());
    TlsClient client;
    EXPECT_TRUE(client.Talk(server.port()));
    client.Goodbye();
    EXPECT_THAT(server.Join().names, IsEmpty());
  }
  AskClients(ClientAuth::kRequired);
  EchoServer server(Context());
  TlsClient client;
  EXPECT_FALSE(client.Talk(server.port()));
  EXPECT_EQ(server.Join().reason, "peer did not return a certificate");
}

TEST_F(StreamTest, AResumedSessionKeepsItsClient) {
  AskClients(ClientAuth::kRequired);
  const auto context = Context();
  TlsClient client;
  client.Show(client_);
  {
    EchoServer server(context);
    ASSERT_TRUE(client.Talk(server.port()));
    client.KeepSession();
    client.Goodbye();
  }
  {
    EchoServer server(context);
    ASSERT_TRUE(client.Talk(server.port()));
    EXPECT_EQ(SSL_session_reused(client.ssl()), 1);
    client.Goodbye();
    EXPECT_EQ(server.Join().names.front(), "cn:checkout");
  }
  EchoServer server(Context());  // as after a reload: its tickets' key is new
  ASSERT_TRUE(client.Talk(server.port()));
  EXPECT_EQ(SSL_session_reused(client.ssl()), 0);
  client.Goodbye();
}

TEST_F(StreamTest, RefusesOldVersionsAndWeakCiphers) {
  struct Case {
    int version;
    TlsVersion least;
    const char* ciphers;
  };
  for (const Case& c : {Case{TLS1_1_VERSION, TlsVersion::k12, "ALL:@SECLEVEL=0"},
                        Case{TLS1_VERSION, TlsVersion::k12, "ALL:@SECLEVEL=0"},
                        Case{TLS1_2_VERSION, TlsVersion::k13, "ALL"},
                        Case{TLS1_2_VERSION, TlsVersion::k12, "ECDHE-ECDSA-AES128-SHA256"},
                        Case{TLS1_2_VERSION, TlsVersion::k12, "aNULL:@SECLEVEL=0"}}) {
    options_.min_version = c.least;
    EchoServer server(Context());
    TlsClient client;
    SSL_CTX_set_cipher_list(client.context(), c.ciphers);
    SSL_CTX_set_min_proto_version(client.context(), c.version);
    SSL_CTX_set_max_proto_version(client.context(), c.version);
    EXPECT_FALSE(client.Talk(server.port())) << c.version << " " << c.ciphers;
    EXPECT_TRUE(server.Join().handshake) << c.version << " " << c.ciphers;
  }
}

TEST_F(StreamTest, SelectsHttp11AndRefusesOthersAlone) {
  const auto talk = [&](const std::string& offered) {
    EchoServer server(Context());
    TlsClient client;
    SSL_CTX_set_alpn_protos(client.context(),
                            reinterpret_cast<const unsigned char*>(offered.data()),
                            static_cast<unsigned>(offered.size()));
    if (!client.Talk(server.port())) return std::string("refused");
    const unsigned char* chosen = nullptr;
    unsigned length = 0;
    SSL_get0_alpn_selected(client.ssl(), &chosen, &length);
    client.Goodbye();
    return std::string(reinterpret_cast<const char*>(chosen), length);
  };
  EXPECT_EQ(talk("\x02h2\x08http/1.1"), "http/1.1");
  EXPECT_EQ(talk("\x02h2"), "refused");
}

TEST_F(StreamTest, SaysWhatWasWrongWithAHandshake) {
  for (const auto& [sent, reason] : std::vector<std::pair<std::string, std::string>>{
           {"GET / HTTP/1.1\r\nHost: h\r\n\r\n", "http request"},
           {std::string(5000, '\xff'), "wrong version number"}}) {
    EchoServer server(Context());
    const int fd = Connect(server.port());
    ::send(fd, sent.data(), sent.size(), MSG_NOSIGNAL);
    const Outcome outcome = server.Join();
    ::close(fd);
    EXPECT_TRUE(outcome.handshake);
    EXPECT_EQ(outcome.reason, reason);
  }
}

TEST_F(StreamTest, AClientThatGoesInTheMiddleIsTheEnd) {
  {
    EchoServer server(Context());
    ::close(Connect(server.port()));
    EXPECT_EQ(server.Join().handshake, asio::error::eof);
  }
  EchoServer server(Context());
  TlsClient client;
  ASSERT_TRUE(client.Talk(server.port()));
  client.Vanish();  // without TLS's goodbye
  EXPECT_EQ(server.Join().end, asio::error::eof);
}

}  // namespace
}  // namespace verdict
