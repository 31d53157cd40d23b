#include "observe/logging.h"

#include <poll.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <ctime>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "base/json_writer.h"
#include "base/terminal_text.h"

namespace verdict {
namespace {

using spdlog::level::level_enum;

/// spdlog's default logger is the process's, and so are these.
struct AtomicSettings {
  std::atomic<LogFormat> format{LogFormat::kText};
  std::atomic<bool> info{true}, warning{true}, error{true};
  std::atomic<uint32_t> verbose_level{0};
};
AtomicSettings& Settings() {
  static AtomicSettings settings;
  return settings;
}

bool IsWanted(level_enum level) {
  const AtomicSettings& settings = Settings();
  switch (level) {
    case spdlog::level::trace:
      return settings.verbose_level.load(std::memory_order_relaxed) >= 2;
    case spdlog::level::debug:
      return settings.verbose_level.load(std::memory_order_relaxed) >= 1;
    case spdlog::level::info:
      return settings.info.load(std::memory_order_relaxed);
    case spdlog::level::warn:
      return settings.warning.load(std::memory_order_relaxed);
    case spdlog::level::err:
    case spdlog::level::critical:
      return settings.error.load(std::memory_order_relaxed);
    default:
      return false;
  }
}

/// The lowest that is wanted: spdlog passes over what is below it before it formats anything.
level_enum Threshold() {
  for (int level = spdlog::level::trace; level < spdlog::level::off; ++level) {
    if (IsWanted(static_cast<level_enum>(level))) return static_cast<level_enum>(level);
  }
  return spdlog::level::off;
}

std::string_view LevelName(level_enum level) {
  const auto& name = spdlog::level::to_string_view(level);
  return {name.data(), name.size()};
}

/// "2026-11-26T05:11:25.123Z"
std::string Rfc3339(spdlog::log_clock::time_point time) {
  const auto since_epoch =
      std::chrono::floor<std::chrono::milliseconds>(time.time_since_epoch()).count();
  const std::time_t seconds = since_epoch / 1000;
  std::tm utc{};
  ::gmtime_r(&seconds, &utc);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", utc.tm_year + 1900,
                     utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
                     since_epoch % 1000);
}

void AppendScopes(const LogScope* scope, JsonWriter* json) {
  if (scope == nullptr) return;
  AppendScopes(scope->outer(), json);
  json->Key(scope->key()).String(scope->value());
}

std::string JsonLine(const spdlog::details::log_msg& message) {
  JsonWriter json;
  json.BeginObject();
  json.Key("ts").String(Rfc3339(message.time));
  json.Key("level").String(LevelName(message.level));
  json.Key("msg").String({message.payload.data(), message.payload.size()});
  // The logger is synchronous: this is the thread that logs.
  AppendScopes(LogScope::Innermost(), &json);
  json.EndObject();
  return json.text() + "\n";
}

class LineFormatter : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& out) override {
    if (Settings().format.load(std::memory_order_relaxed) == LogFormat::kJson) {
      const std::string line = JsonLine(message);
      out.append(line.data(), line.data() + line.size());
      return;
    }
    const std::string text = TerminalText({message.payload.data(), message.payload.size()});
    spdlog::details::log_msg safe = message;
    safe.payload = text;
    text_.format(safe, out);
  }

  std::unique_ptr<spdlog::formatter> clone() const override {
    return std::make_unique<LineFormatter>();
  }

 private:
  spdlog::pattern_formatter text_{"%Y-%m-%dT%H:%M:%S.%e%z %l %v"};
};

/// Whether so much as a pipe takes at once can be written without waiting for a reader.
bool TakesMore(int descriptor) {
  pollfd polled{descriptor, POLLOUT, 0};
  return ::poll(&polled, 1, 0) == 1 && (polled.revents & POLLOUT) != 0;
}

/// Standard error, never waited for: threads that answer requests log too, and a collector that
/// has stalled must not stop them. What it does not take is dropped and counted. Levels are
/// switched one by one, where spdlog has a threshold only.
class StderrSink : public spdlog::sinks::base_sink<std::mutex> {
 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    if (!IsWanted(message.level)) return;
    if (dropped_ > 0 && TakesMore(STDERR_FILENO)) {
      const std::string text =
          std::to_string(std::exchange(dropped_, 0)) + " lines were dropped: nobody read them";
      Write(spdlog::details::log_msg("", spdlog::level::warn, text));
    }
    Write(message);
  }
  void flush_() override {}

 private:
  void Write(const spdlog::details::log_msg& message) {
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    for (size_t at = 0; at < line.size();) {
      if (!TakesMore(STDERR_FILENO)) {
        ++dropped_;
        return;
      }
      const size_t most = std::min<size_t>(line.size() - at, PIPE_BUF);
      const ssize_t written = ::write(STDERR_FILENO, line.data() + at, most);
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) return;  // closed, or a full disk: nowhere to say so
      at += static_cast<size_t>(written);
    }
  }

  uint64_t dropped_ = 0;
};

thread_local const LogScope* innermost_scope = nullptr;

}  // namespace

void StartLogging(const LogSettings& settings) {
  auto logger = std::make_shared<spdlog::logger>("verdict", std::make_shared<StderrSink>());
  logger->set_formatter(std::make_unique<LineFormatter>());
  spdlog::set_default_logger(std::move(logger));
  SetLogSettings(settings);
}

void SetLogSettings(const LogSettings& settings) {
  AtomicSettings& current = Settings();
  current.format.store(settings.format);
  current.info.store(settings.info);
  current.warning.store(settings.warning);
  current.error.store(settings.error);
  current.verbose_level.store(settings.verbose_level);
  spdlog::set_level(Threshold());
}

LogSettings CurrentLogSettings() {
  const AtomicSettings& current = Settings();
  return {current.format.load(), current.info.load(), current.warning.load(), current.error.load(),
          current.verbose_level.load()};
}

LogScope::LogScope(std::string_view key, std::string value)
    : key_(key), value_(std::move(value)), outer_(std::exchange(innermost_scope, this)) {}

LogScope::~LogScope() { innermost_scope = outer_; }

const LogScope* LogScope::Innermost() { return innermost_scope; }

std::optional<uint64_t> LogLimit::Pass(Clock::time_point now) {
  Clock::rep next = next_.load(std::memory_order_relaxed);
  const Clock::rep time = now.time_since_epoch().count();
  if (time < next || !next_.compare_exchange_strong(next, time + interval_.count())) {
    held_back_.fetch_add(1, std::memory_order_relaxed);
    return std::nullopt;
  }
  return held_back_.exchange(0, std::memory_order_relaxed);
}

std::string MoreLikeIt(uint64_t held_back) {
  if (held_back == 0) return {};
  return " (" + std::to_string(held_back) + " more like it were not logged)";
}

}  // namespace verdict
