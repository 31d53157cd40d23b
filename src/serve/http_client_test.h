#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <thread>

namespace verdict {

struct Response {
  int code = 0;  // 0: the connection ended first
  std::string head;
  std::string body;
};

/// A client that sends what it is told to, byte by byte.
class Client {
 public:
  explicit Client(uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
    const timeval patience{20, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  }
  ~Client() { ::close(fd_); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  bool connected() const { return connected_; }
  bool Send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
    return true;
  }
  /// The next response; with `no_body` as one to HEAD or a 100.
  Response Read(bool no_body = false) {
    Response response;
    size_t end;
    while ((end = received_.find("\r\n\r\n")) == std::string::npos) {
      if (!Receive()) return response;
    }
    response.head = received_.substr(0, end + 2);
    received_.erase(0, end + 4);
    const size_t at = response.head.find("Content-Length: ");
    const size_t length =
        no_body || at == std::string::npos ? 0 : std::stoul(response.head.substr(at + 16));
    while (received_.size() < length) {
      if (!Receive()) return response;
    }
    response.body = received_.substr(0, length);
    received_.erase(0, length);
    response.code = std::stoi(response.head.substr(9, 3));
    return response;
  }
  /// True if the server closes before it sends anything more.
  bool Closed() { return received_.empty() && !Receive(); }
  Response Ask(std::string_view bytes) { return Send(bytes) ? Read() : Response{}; }
  /// From now on takes at most 64 KiB every 5 ms, and has the system take little more on its
  /// behalf.
  void ReadSteadily() {
    const int bytes = 128 << 10;
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
    pause_ = std::chrono::milliseconds(5);
  }

 private:
  bool Receive() {
    std::this_thread::sleep_for(pause_);
    char buffer[65536];
    const ssize_t count = ::recv(fd_, buffer, sizeof(buffer), 0);
    if (count <= 0) return false;
    received_.append(buffer, static_cast<size_t>(count));
    return true;
  }
  int fd_;
  bool connected_ = false;
  std::chrono::milliseconds pause_{0};
  std::string received_;
};

inline std::string Get(const std::string& target, const std::string& fields = "") {
  return "GET " + target + " HTTP/1.1\r\nHost: h\r\n" + fields + "\r\n";
}
inline std::string Post(const std::string& target, const std::string& body,
                        const std::string& fields = "") {
  return "POST " + target + " HTTP/1.1\r\nHost: h\r\n" + fields +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

}  // namespace verdict
