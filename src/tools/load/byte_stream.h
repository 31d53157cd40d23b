#pragma once

#include <netdb.h>
#include <openssl/ssl.h>
#include <sys/types.h>

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "tools/load/connection_options.h"

namespace verdict::load {

/// The server's address and the TLS settings, made once and shared by all connections. Threads:
/// any.
class Endpoint {
 public:
  /// Resolves the name and reads the certificates. Errors: kNotFound for a name that does not
  /// resolve; kInvalidArgument naming the file that is no certificate or key.
  static Result<std::unique_ptr<Endpoint>> Make(const ConnectionOptions& options);

  const sockaddr* address() const { return reinterpret_cast<const sockaddr*>(&address_); }
  socklen_t address_size() const { return address_size_; }
  SSL_CTX* tls() const { return tls_.get(); }  // null without TLS
  const std::string& host() const { return host_; }
  /// "host:port", an IPv6 host in brackets.
  const std::string& authority() const { return authority_; }

 private:
  Endpoint() : tls_(nullptr, SSL_CTX_free) {}
  sockaddr_storage address_{};
  socklen_t address_size_ = 0;
  std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)> tls_;
  std::string host_;
  std::string authority_;
};

/// A non-blocking TCP connection, under TLS if the endpoint says so. Threads: one at a time.
class ByteStream {
 public:
  enum class Outcome : uint8_t {
    kOk,
    kWait,    // not now: wait for the socket
    kClosed,  // by the server, in order
    kError,   // error() says what
  };

  ByteStream() = default;
  ~ByteStream() { Close(); }
  ByteStream(ByteStream&& other) noexcept;
  ByteStream& operator=(ByteStream&&) = delete;
  ByteStream(const ByteStream&) = delete;
  ByteStream& operator=(const ByteStream&) = delete;

  /// Begins to connect; Finish() tells when that is done. The endpoint must outlive the stream.
  Outcome Open(const Endpoint& endpoint);
  /// After the socket became writable (or readable): goes on connecting. kOk: ready for use.
  Outcome Finish();
  /// Up to buffer.size() bytes; *count of them were read.
  Outcome Read(std::span<char> buffer, size_t* count);
  /// *count of the bytes were taken. kWait leaves the rest to a later call with the same bytes.
  Outcome Write(std::string_view bytes, size_t* count);
  void Close();

  int fd() const { return fd_; }
  const std::string& error() const { return error_; }

 private:
  Outcome Fail(const char* what, int error);
  Outcome TlsOutcome(const char* what, int result);

  const Endpoint* endpoint_ = nullptr;
  int fd_ = -1;
  bool connected_ = false;
  SSL* ssl_ = nullptr;
  std::string error_;
};

/// Asks one request on a connection of its own and waits, up to timeout_ms, for the answer, of
/// which at most 16 MiB are taken. Errors: kUnavailable if the server cannot be reached or does not
/// answer as HTTP does, with what to do; kDeadlineExceeded.
struct BlockingAnswer {
  int code = 0;
  std::string body;
};
Result<BlockingAnswer> AskOnce(const Endpoint& endpoint, std::string_view request, int timeout_ms);

}  // namespace verdict::load
