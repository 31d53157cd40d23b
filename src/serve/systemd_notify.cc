#include "serve/systemd_notify.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include "base/terminal_text.h"

namespace verdict {
namespace {

std::string_view Environment(const char* name) {
  const char* const value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): before threads
  return value == nullptr ? std::string_view() : value;
}

std::optional<uint64_t> Number(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// WATCHDOG_PID says whose watchdog it is: a parent's is not ours.
std::optional<std::chrono::microseconds> WatchdogTimeout() {
  const std::string_view owner = Environment("WATCHDOG_PID");
  if (!owner.empty() && Number(owner) != static_cast<uint64_t>(::getpid())) return std::nullopt;
  const auto timeout_us = Number(Environment("WATCHDOG_USEC"));
  if (!timeout_us.has_value() || *timeout_us == 0) return std::nullopt;
  constexpr uint64_t kLongestUs = uint64_t{365} * 86'400 * 1'000'000;
  return std::chrono::microseconds(std::min(*timeout_us, kLongestUs));
}

uint64_t MonotonicMicroseconds() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000 + static_cast<uint64_t>(now.tv_nsec) / 1000;
}

/// Newlines part the fields of a message.
std::string StatusField(std::string_view status) { return "STATUS=" + TerminalText(status); }

}  // namespace

Result<std::unique_ptr<SystemdNotify>> SystemdNotify::FromEnvironment() {
  std::unique_ptr<SystemdNotify> notify(new SystemdNotify);
  const std::string_view name = Environment("NOTIFY_SOCKET");
  if (name.empty()) return notify;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if ((name[0] != '/' && name[0] != '@') || name.size() >= sizeof(address.sun_path)) {
    return InvalidArgument("NOTIFY_SOCKET is '" + std::string(name) +
                           "': it must be the path of a socket, or '@' and an abstract name");
  }
  std::memcpy(address.sun_path, name.data(), name.size());
  if (name[0] == '@') address.sun_path[0] = '\0';
  notify->socket_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (notify->socket_ < 0) {
    return ResourceExhausted(std::string("cannot make a socket to notify systemd with: ") +
                             std::strerror(errno));
  }
  // An abstract name ends where its length says, a path at its zero.
  const size_t length =
      offsetof(sockaddr_un, sun_path) + name.size() + (name[0] == '/' ? size_t{1} : size_t{0});
  if (::connect(notify->socket_, reinterpret_cast<const sockaddr*>(&address),
                static_cast<socklen_t>(length)) != 0) {
    return InvalidArgument("NOTIFY_SOCKET is '" + std::string(name) +
                           "', which cannot be connected to: " + std::strerror(errno));
  }
  notify->watchdog_timeout_ = WatchdogTimeout();
  return notify;
}

SystemdNotify::~SystemdNotify() {
  if (socket_ >= 0) ::close(socket_);
}

void SystemdNotify::Ready(std::string_view status) const {
  Send("READY=1\n" + StatusField(status));
}

void SystemdNotify::Reloading() const {
  Send("RELOADING=1\nMONOTONIC_USEC=" + std::to_string(MonotonicMicroseconds()) + "\n" +
       StatusField("reading the configuration again"));
}

void SystemdNotify::Stopping(std::string_view status) const {
  Send("STOPPING=1\n" + StatusField(status));
}

void SystemdNotify::StatusText(std::string_view status) const { Send(StatusField(status)); }

void SystemdNotify::Watchdog() const { Send("WATCHDOG=1"); }

void SystemdNotify::Send(const std::string& message) const {
  if (socket_ < 0) return;
  while (::send(socket_, message.data(), message.size(), MSG_NOSIGNAL) < 0 && errno == EINTR) {
  }
}

}  // namespace verdict
