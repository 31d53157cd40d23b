#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace verdict {

// The server's log: spdlog's default logger, one line an event on standard error.
//
// A line is text, "2026-11-26T05:11:25.123+00:00 error message", or a JSON object with "ts" (RFC
// 3339, UTC), "level", "msg" and the fields of the LogScopes around it. Either way it is safe for
// terminals: callers pass names from files and requests on as they are. Nobody waits for who reads
// it: what a full pipe does not take is dropped, and counted in a later line. Nobody logs what a
// request holds: feature values are personal data.

enum class LogFormat { kText, kJson };

/// What is logged and how; may change while the process runs.
struct LogSettings {
  LogFormat format = LogFormat::kText;
  bool info = true;
  bool warning = true;
  bool error = true;
  uint32_t verbose_level = 0;  // 1 adds spdlog::debug, 2 and more spdlog::trace
};

/// Makes spdlog's default logger the one described above. Call it once, before threads log.
void StartLogging(const LogSettings& settings);

/// Threads: any; lines being written at the moment may have either settings.
void SetLogSettings(const LogSettings& settings);
LogSettings CurrentLogSettings();

/// A field of every line that this thread logs while the object lives, innermost last:
///
///     const LogScope scope("model", name);
///
/// Only the JSON form shows it: the message itself must say all that a person needs.
class LogScope {
 public:
  LogScope(std::string_view key, std::string value);
  ~LogScope();
  LogScope(const LogScope&) = delete;
  LogScope& operator=(const LogScope&) = delete;

  /// The innermost of this thread, or null.
  static const LogScope* Innermost();
  const LogScope* outer() const { return outer_; }
  std::string_view key() const { return key_; }
  const std::string& value() const { return value_; }

 private:
  std::string_view key_;
  std::string value_;
  const LogScope* outer_;
};

/// Holds back what repeats too fast, so that no client can fill the disk: at most one line an
/// interval. One object a place that logs. Threads: any.
class LogLimit {
 public:
  using Clock = std::chrono::steady_clock;

  explicit LogLimit(std::chrono::milliseconds interval = std::chrono::seconds(1))
      : interval_(interval) {}

  /// Returns: nothing if the line must be held back; else how many were since the last that was
  /// not.
  std::optional<uint64_t> Pass(Clock::time_point now = Clock::now());

 private:
  const Clock::duration interval_;
  std::atomic<Clock::rep> next_{Clock::time_point::min().time_since_epoch().count()};
  std::atomic<uint64_t> held_back_{0};
};

/// " (12 more like it were not logged)", or nothing for 0.
std::string MoreLikeIt(uint64_t held_back);

}  // namespace verdict
