#pragma once

#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/system/error_code.hpp>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

extern "C" {
using SSL = struct ssl_st;
using SSL_CTX = struct ssl_ctx_st;
}

namespace verdict {

/// A connected, non-blocking TCP socket, or TLS over one, with the same calls: ReadSome and
/// WriteSome take or give what there is at this moment and answer would_block otherwise; then
/// WaitRead or WaitWrite calls back once it is worth another try. Belongs to one thread.
class Stream {
 public:
  using Socket = boost::asio::ip::tcp::socket;
  using ErrorCode = boost::system::error_code;

  /// Plain.
  explicit Stream(Socket socket) : socket_(std::move(socket)) {}
  /// TLS, as the server of the handshake. No memory for it: the handshake fails.
  Stream(Socket socket, std::shared_ptr<SSL_CTX> context);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  bool is_tls() const { return context_ != nullptr; }
  Socket& socket() { return socket_; }

  /// One step of the handshake, which TLS needs before the first read: no error once it is
  /// complete; would_block: go on after WaitHandshake. At most one flight of messages, so about a
  /// millisecond of computing at worst (an RSA signature).
  void Handshake(ErrorCode& error);
  template <typename Handler>
  void WaitHandshake(Handler&& handler) {
    socket_.async_wait(handshake_direction_, std::forward<Handler>(handler));
  }

  /// As socket.read_some: eof when the client has ended. With TLS at most one record (16 KiB).
  size_t ReadSome(boost::asio::mutable_buffer buffer, ErrorCode& error) {
    if (!is_tls()) return socket_.read_some(buffer, error);
    return TlsRead(buffer, error);
  }
  /// As socket.write_some. What was not taken must come again, from whatever memory.
  size_t WriteSome(std::span<const boost::asio::const_buffer> buffers, ErrorCode& error) {
    if (!is_tls()) return socket_.write_some(buffers, error);
    return TlsWrite(buffers, error);
  }

  /// Whether a byte is there to be read, which stays: no error if so; would_block if not yet; eof
  /// if the client has ended.
  void Peek(ErrorCode& error);

  /// handler(ErrorCode): something may be read. TLS holds decrypted or undecrypted bytes that the
  /// socket knows nothing of: then it calls back at once, not from within.
  template <typename Handler>
  void WaitRead(Handler&& handler) {
    if (is_tls() && HasBuffered()) {
      boost::asio::post(
          socket_.get_executor(),
          [handler = std::forward<Handler>(handler)]() mutable { handler(ErrorCode()); });
      return;
    }
    socket_.async_wait(is_tls() ? read_direction_ : Socket::wait_read,
                       std::forward<Handler>(handler));
  }
  template <typename Handler>
  void WaitWrite(Handler&& handler) {
    socket_.async_wait(is_tls() ? write_direction_ : Socket::wait_write,
                       std::forward<Handler>(handler));
  }

  /// Says that nothing more is sent (TLS: close_notify, if the socket takes it now). Reading goes
  /// on.
  void ShutdownSend(ErrorCode& error);

  /// Why the last call of TLS failed, in OpenSSL's words, for a log; "" if it did not say.
  const std::string& reason() const { return reason_; }

  /// Of a complete handshake: see VerifiedClientNames. Empty for plain connections.
  std::vector<std::string> ClientNames() const;

 private:
  struct SslDeleter {
    void operator()(SSL* ssl) const;
  };
  size_t TlsRead(boost::asio::mutable_buffer buffer, ErrorCode& error);
  size_t TlsWrite(std::span<const boost::asio::const_buffer> buffers, ErrorCode& error);
  size_t WriteOne(const void* data, size_t size, ErrorCode& error);
  bool HasBuffered() const;
  /// What a call that returned `result` means; *direction: what to wait for.
  ErrorCode Explain(int result, Socket::wait_type* direction);

  Socket socket_;
  std::shared_ptr<SSL_CTX> context_;
  std::unique_ptr<SSL, SslDeleter> ssl_;
  // TLS may have to write in order to read, and the other way round.
  Socket::wait_type handshake_direction_ = Socket::wait_read;
  Socket::wait_type read_direction_ = Socket::wait_read;
  Socket::wait_type write_direction_ = Socket::wait_write;
  bool read_blocked_ = false;  // the last read found too little
  std::string reason_;
};

}  // namespace verdict
