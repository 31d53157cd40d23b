#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"

namespace verdict {

/// Tells systemd how the service is doing, by the protocol of sd_notify(3). Without systemd, when
/// NOTIFY_SOCKET is not set, every call does nothing. No call blocks or fails: what the manager
/// does not take is lost. Threads: any.
class SystemdNotify {
 public:
  /// Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID. Errors: kInvalidArgument for a
  /// NOTIFY_SOCKET that is no socket's name; kResourceExhausted (no file descriptor).
  static Result<std::unique_ptr<SystemdNotify>> FromEnvironment();
  ~SystemdNotify();
  SystemdNotify(const SystemdNotify&) = delete;
  SystemdNotify& operator=(const SystemdNotify&) = delete;

  /// Start-up, or a reload, is complete.
  void Ready(std::string_view status) const;
  /// The configuration is being read again; Ready says when that is done.
  void Reloading() const;
  void Stopping(std::string_view status) const;
  /// One line for `systemctl status`.
  void StatusText(std::string_view status) const;
  /// A sign of life.
  void Watchdog() const;

  /// The longest silence after which systemd takes the service for dead; send Watchdog twice in
  /// that time. Nothing: no watchdog is on.
  std::optional<std::chrono::microseconds> watchdog_timeout() const { return watchdog_timeout_; }

 private:
  SystemdNotify() = default;
  void Send(const std::string& message) const;

  int socket_ = -1;  // connected; -1: nobody listens
  std::optional<std::chrono::microseconds> watchdog_timeout_;
};

}  // namespace verdict
