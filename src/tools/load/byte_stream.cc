#include "tools/load/byte_stream.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

#include "tools/load/response_reader.h"

namespace verdict::load {
namespace {

std::string TlsError() {
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  return reason == nullptr ? "the connection ended" : reason;
}

bool IsAddress(const std::string& host) {
  in6_addr address;
  return ::inet_pton(AF_INET, host.c_str(), &address) == 1 ||
         ::inet_pton(AF_INET6, host.c_str(), &address) == 1;
}

Status SetUpTls(SSL_CTX* context, const ConnectionOptions& options) {
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  const bool trusted =
      options.ca_file.empty()
          ? SSL_CTX_set_default_verify_paths(context) == 1
          : SSL_CTX_load_verify_locations(context, options.ca_file.c_str(), nullptr) == 1;
  if (!trusted) {
    return InvalidArgument("--tls-ca " + options.ca_file + ": no PEM certificates: " + TlsError());
  }
  if (options.cert_file.empty()) return OkStatus();
  if (SSL_CTX_use_certificate_chain_file(context, options.cert_file.c_str()) != 1) {
    return InvalidArgument("--cert " + options.cert_file + ": no PEM certificate: " + TlsError());
  }
  if (SSL_CTX_use_PrivateKey_file(context, options.key_file.c_str(), SSL_FILETYPE_PEM) != 1) {
    return InvalidArgument("--key " + options.key_file +
                           ": not the certificate's private key in PEM: " + TlsError());
  }
  return OkStatus();
}

}  // namespace

Result<std::unique_ptr<Endpoint>> Endpoint::Make(const ConnectionOptions& options) {
  std::unique_ptr<Endpoint> endpoint(new Endpoint());
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error =
      ::getaddrinfo(options.host.c_str(), std::to_string(options.port).c_str(), &hints, &found);
  if (error != 0) {
    return NotFound("--url: '" + options.host + "' does not resolve: " + ::gai_strerror(error));
  }
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found, ::freeaddrinfo);
  // "localhost" has two addresses, and the server may listen on one of them only.
  for (const addrinfo* candidate = found; candidate != nullptr; candidate = candidate->ai_next) {
    const int fd = ::socket(candidate->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) continue;
    const bool reached = ::connect(fd, candidate->ai_addr, candidate->ai_addrlen) == 0;
    ::close(fd);
    if (candidate != found && !reached) continue;
    std::memcpy(&endpoint->address_, candidate->ai_addr, candidate->ai_addrlen);
    endpoint->address_size_ = candidate->ai_addrlen;
    if (reached) break;
  }
  endpoint->host_ = options.host;
  const bool v6 = options.host.find(':') != std::string::npos;
  endpoint->authority_ =
      (v6 ? "[" + options.host + "]" : options.host) + ":" + std::to_string(options.port);
  if (options.tls) {
    endpoint->tls_.reset(SSL_CTX_new(TLS_client_method()));
    if (endpoint->tls_ == nullptr) return ResourceExhausted("TLS: " + TlsError());
    VERDICT_RETURN_IF_ERROR(SetUpTls(endpoint->tls_.get(), options));
  }
  return endpoint;
}

ByteStream::ByteStream(ByteStream&& other) noexcept
    : endpoint_(other.endpoint_),
      fd_(std::exchange(other.fd_, -1)),
      connected_(other.connected_),
      ssl_(std::exchange(other.ssl_, nullptr)),
      error_(std::move(other.error_)) {}

void ByteStream::Close() {
  SSL_free(std::exchange(ssl_, nullptr));
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  connected_ = false;
}

ByteStream::Outcome ByteStream::Fail(const char* what, int error) {
  error_ = std::string(what) + ": " + std::strerror(error);
  return Outcome::kError;
}

ByteStream::Outcome ByteStream::TlsOutcome(const char* what, int result) {
  const int error = SSL_get_error(ssl_, result);
  if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return Outcome::kWait;
  if (error == SSL_ERROR_ZERO_RETURN) return Outcome::kClosed;
  const long verified = SSL_get_verify_result(ssl_);
  error_ = std::string(what) + ": " +
           (verified != X509_V_OK ? X509_verify_cert_error_string(verified) : TlsError());
  ERR_clear_error();
  return Outcome::kError;
}

ByteStream::Outcome ByteStream::Open(const Endpoint& endpoint) {
  Close();
  endpoint_ = &endpoint;
  fd_ = ::socket(endpoint.address()->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd_ < 0) {
    return Fail(
        errno == EMFILE ? "no socket (raise ulimit -n or lower --connections)" : "no socket",
        errno);
  }
  const int on = 1;
  ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  if (::connect(fd_, endpoint.address(), endpoint.address_size()) != 0 && errno != EINPROGRESS) {
    return Fail("connect", errno);
  }
  return Finish();
}

ByteStream::Outcome ByteStream::Finish() {
  if (!connected_) {
    pollfd poll{.fd = fd_, .events = POLLOUT, .revents = 0};
    if (::poll(&poll, 1, 0) == 0) return Outcome::kWait;
    int error = 0;
    socklen_t size = sizeof(error);
    ::getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) return Fail("connect", error);
    connected_ = true;
    if (endpoint_->tls() != nullptr) {
      ssl_ = SSL_new(endpoint_->tls());
      if (ssl_ == nullptr || SSL_set_fd(ssl_, fd_) != 1) return Fail("TLS", ENOMEM);
      SSL_set_connect_state(ssl_);
      const std::string& host = endpoint_->host();
      if (IsAddress(host)) {
        X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl_), host.c_str());
      } else {
        SSL_set_tlsext_host_name(ssl_, host.c_str());
        SSL_set1_host(ssl_, host.c_str());
      }
    }
  }
  if (ssl_ != nullptr) {
    const int result = SSL_do_handshake(ssl_);
    if (result != 1) return TlsOutcome("TLS handshake", result);
  }
  return Outcome::kOk;
}

ByteStream::Outcome ByteStream::Read(std::span<char> buffer, size_t* count) {
  *count = 0;
  if (ssl_ != nullptr) {
    const int result = SSL_read_ex(ssl_, buffer.data(), buffer.size(), count);
    return result == 1 ? Outcome::kOk : TlsOutcome("TLS", result);
  }
  const ssize_t result = ::recv(fd_, buffer.data(), buffer.size(), 0);
  if (result == 0) return Outcome::kClosed;
  if (result < 0) {
    return errno == EAGAIN || errno == EINTR ? Outcome::kWait : Fail("receive", errno);
  }
  *count = static_cast<size_t>(result);
  return Outcome::kOk;
}

ByteStream::Outcome ByteStream::Write(std::string_view bytes, size_t* count) {
  *count = 0;
  if (ssl_ != nullptr) {
    const int result = SSL_write_ex(ssl_, bytes.data(), bytes.size(), count);
    return result == 1 ? Outcome::kOk : TlsOutcome("TLS", result);
  }
  const ssize_t result = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  if (result < 0) {
    return errno == EAGAIN || errno == EINTR ? Outcome::kWait : Fail("send", errno);
  }
  *count = static_cast<size_t>(result);
  return Outcome::kOk;
}

namespace {

using SteadyClock = std::chrono::steady_clock;

/// Waits for the socket. False once the time is over.
bool WaitFor(const ByteStream& stream, bool writable, SteadyClock::time_point deadline) {
  const auto left =
      std::chrono::duration_cast<std::chrono::milliseconds>(deadline - SteadyClock::now());
  if (left.count() <= 0) return false;
  pollfd poll{.fd = stream.fd(),
              .events = static_cast<short>(writable ? POLLIN | POLLOUT : POLLIN),
              .revents = 0};
  return ::poll(&poll, 1, static_cast<int>(left.count())) > 0;
}

}  // namespace

Result<BlockingAnswer> AskOnce(const Endpoint& endpoint, std::string_view request, int timeout_ms) {
  constexpr size_t kMaxBody = size_t{16} << 20;
  const auto deadline = SteadyClock::now() + std::chrono::milliseconds(timeout_ms);
  const std::string where = "the server at " + endpoint.authority();
  using Outcome = ByteStream::Outcome;
  ByteStream stream;
  Outcome outcome = stream.Open(endpoint);
  while (outcome == Outcome::kWait) {
    if (!WaitFor(stream, true, deadline)) {
      return DeadlineExceeded(where + " cannot be reached: no connection within " +
                              std::to_string(timeout_ms) + " ms; is the address right?");
    }
    outcome = stream.Finish();
  }
  if (outcome != Outcome::kOk) {
    return Unavailable(where + " cannot be reached: " + stream.error() +
                       "; is `verdict serve` running there, and is --url its address?");
  }
  while (!request.empty()) {
    size_t count = 0;
    outcome = stream.Write(request, &count);
    request.remove_prefix(count);
    if (outcome == Outcome::kWait && WaitFor(stream, true, deadline)) continue;
    if (outcome != Outcome::kOk) return Unavailable(where + " does not take a request");
  }
  ResponseReader reader(kMaxBody);
  std::vector<char> buffer(size_t{64} << 10);
  ResponseReader::State state = ResponseReader::State::kMore;
  while (state == ResponseReader::State::kMore) {
    size_t count = 0;
    outcome = stream.Read(buffer, &count);
    if (outcome == Outcome::kWait) {
      if (WaitFor(stream, false, deadline)) continue;
      return DeadlineExceeded(where + " did not answer within " + std::to_string(timeout_ms) +
                              " ms");
    }
    if (outcome == Outcome::kError) return Unavailable(where + ": " + stream.error());
    size_t taken = 0;
    state =
        outcome == Outcome::kClosed ? reader.Close() : reader.Feed({buffer.data(), count}, &taken);
  }
  if (state == ResponseReader::State::kMalformed) {
    return Unavailable(where + " gave an answer that is not HTTP/1.1: " + reader.error() +
                       "; is --url the port for HTTP (or HTTPS with TLS)?");
  }
  return BlockingAnswer{reader.code(), reader.body()};
}

}  // namespace verdict::load
