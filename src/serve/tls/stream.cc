#include "serve/tls/stream.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "serve/tls/certificate.h"

namespace verdict {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

/// TLS's largest record. More than that in one call would only be cut up.
constexpr size_t kRecordBytes = 16 << 10;
/// Most that one call writes: a client that reads fast must not keep the thread to itself.
constexpr size_t kMaxWriteBytes = size_t{256} << 10;

error_code Make(boost::system::errc::errc_t code) {
  return boost::system::errc::make_error_code(code);
}

}  // namespace

void Stream::SslDeleter::operator()(SSL* ssl) const { SSL_free(ssl); }

Stream::Stream(Socket socket, std::shared_ptr<SSL_CTX> context)
    : socket_(std::move(socket)), context_(std::move(context)), ssl_(SSL_new(context_.get())) {
  error_code ignored;
  socket_.non_blocking(true, ignored);
  socket_.native_non_blocking(true, ignored);
  if (ssl_ != nullptr && SSL_set_fd(ssl_.get(), socket_.native_handle()) != 1) ssl_.reset();
  if (ssl_ != nullptr) SSL_set_accept_state(ssl_.get());
  ERR_clear_error();
}

Stream::~Stream() = default;

Stream::ErrorCode Stream::Explain(int result, Socket::wait_type* direction) {
  const int system_error = errno;
  switch (SSL_get_error(ssl_.get(), result)) {
    case SSL_ERROR_NONE:
      return {};
    case SSL_ERROR_WANT_READ:
      *direction = Socket::wait_read;
      return asio::error::would_block;
    case SSL_ERROR_WANT_WRITE:
      *direction = Socket::wait_write;
      return asio::error::would_block;
    case SSL_ERROR_ZERO_RETURN:
      return asio::error::eof;
    case SSL_ERROR_SYSCALL:
      reason_ = system_error == 0 ? "the peer has gone" : std::strerror(system_error);
      return system_error == 0 ? error_code(asio::error::eof)
                               : error_code(system_error, boost::system::system_category());
    default:
      // A peer that ends TCP without TLS's own goodbye: HTTP knows by its lengths what is whole.
      if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
        reason_ = TakeOpenSslReason();
        return asio::error::eof;
      }
      reason_ = TakeOpenSslReason();
      return Make(boost::system::errc::protocol_error);
  }
}

void Stream::Handshake(ErrorCode& error) {
  if (!is_tls()) {
    error = {};
    return;
  }
  if (ssl_ == nullptr) {
    reason_ = "no memory for TLS";
    error = Make(boost::system::errc::not_enough_memory);
    return;
  }
  ERR_clear_error();
  errno = 0;
  error = Explain(SSL_do_handshake(ssl_.get()), &handshake_direction_);
}

size_t Stream::TlsRead(asio::mutable_buffer buffer, ErrorCode& error) {
  ERR_clear_error();
  errno = 0;
  size_t count = 0;
  const int result = SSL_read_ex(ssl_.get(), buffer.data(), buffer.size(), &count);
  read_blocked_ = result != 1;
  read_direction_ = Socket::wait_read;
  error = result == 1 ? ErrorCode() : Explain(result, &read_direction_);
  return result == 1 ? count : 0;
}

void Stream::Peek(ErrorCode& error) {
  char next = 0;
  if (!is_tls()) {
    const size_t count = socket_.receive(asio::buffer(&next, 1), Socket::message_peek, error);
    if (!error && count == 0) error = asio::error::eof;
    return;
  }
  ERR_clear_error();
  errno = 0;
  size_t count = 0;
  const int result = SSL_peek_ex(ssl_.get(), &next, 1, &count);
  read_blocked_ = result != 1;
  read_direction_ = Socket::wait_read;
  error = result == 1 ? ErrorCode() : Explain(result, &read_direction_);
}

size_t Stream::WriteOne(const void* data, size_t size, ErrorCode& error) {
  ERR_clear_error();
  errno = 0;
  size_t count = 0;
  const int result = SSL_write_ex(ssl_.get(), data, size, &count);
  write_direction_ = Socket::wait_write;
  error = result == 1 ? ErrorCode() : Explain(result, &write_direction_);
  return result == 1 ? count : 0;
}

size_t Stream::TlsWrite(std::span<const asio::const_buffer> buffers, ErrorCode& error) {
  // Head and body of a small response go into one record, so into one system call.
  std::array<char, kRecordBytes> record;
  size_t sent = 0;
  size_t index = 0;
  size_t offset = 0;
  error = {};
  while (sent < kMaxWriteBytes) {
    while (index < buffers.size() && offset == buffers[index].size()) {
      ++index;
      offset = 0;
    }
    if (index == buffers.size()) return sent;
    const asio::const_buffer first = buffers[index] + offset;
    const void* data = first.data();
    size_t size = std::min(first.size(), record.size());
    size_t next_index = index;
    size_t next_offset = offset + size;
    if (size < record.size() && index + 1 < buffers.size()) {
      std::memcpy(record.data(), data, size);
      while (size < record.size() && ++next_index < buffers.size()) {
        const asio::const_buffer& more = buffers[next_index];
        next_offset = std::min(more.size(), record.size() - size);
        std::memcpy(record.data() + size, more.data(), next_offset);
        size += next_offset;
        if (next_offset < more.size()) break;
      }
      if (next_index == buffers.size()) next_offset = 0;
      data = record.data();
    }
    const size_t count = WriteOne(data, size, error);
    sent += count;
    if (count < size) {  // blocked, or broken: what went out is reported first
      if (sent > 0) error = {};
      return sent;
    }
    index = next_index;
    offset = next_offset;
  }
  return sent;
}

bool Stream::HasBuffered() const {
  return !read_blocked_ && ssl_ != nullptr && SSL_has_pending(ssl_.get()) == 1;
}

void Stream::ShutdownSend(ErrorCode& error) {
  if (ssl_ != nullptr && SSL_is_init_finished(ssl_.get()) == 1) {
    ERR_clear_error();
    SSL_shutdown(ssl_.get());
    ERR_clear_error();
  }
  socket_.shutdown(Socket::shutdown_send, error);
}

std::vector<std::string> Stream::ClientNames() const {
  return ssl_ == nullptr ? std::vector<std::string>() : VerifiedClientNames(ssl_.get());
}

}  // namespace verdict
