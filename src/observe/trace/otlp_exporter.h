#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/status.h"
#include "observe/logging.h"
#include "observe/trace/span_ring.h"
#include "observe/trace/trace_counters.h"

namespace verdict {

/// Where traces go, and how patiently.
struct OtlpOptions {
  std::string url;                   // of the collector: http://host:4318/v1/traces
  std::vector<std::string> headers;  // "Name: value"; may hold secrets, and is never logged
  std::string service_version;
  std::chrono::milliseconds delay{1000};            // longest that a span waits to be sent
  std::chrono::milliseconds timeout{5000};          // of one attempt
  std::chrono::milliseconds first_retry{500};       // doubles with every attempt
  std::chrono::milliseconds longest_retry{10'000};  // whatever the collector asks for
  int attempts = 4;
};

/// Errors: kInvalidArgument for what is no URL of a collector, as http://host:4318/v1/traces.
Status CheckCollectorUrl(const std::string& url);

/// Takes spans out of the rings and posts them to an OpenTelemetry collector (OTLP over HTTP, in
/// JSON), on a thread of its own. What the collector does not take after a few attempts is dropped
/// and counted; its memory is bounded whatever the collector does.
class OtlpExporter {
 public:
  using Clock = std::chrono::steady_clock;
  using Rings = std::vector<std::unique_ptr<SpanRing>>;

  /// rings, counters: outlive the exporter.
  /// Errors: kInvalidArgument (the URL or a header), kResourceExhausted (no thread).
  static Result<std::unique_ptr<OtlpExporter>> Start(OtlpOptions options, const Rings& rings,
                                                     TraceCounters* counters);
  /// As Stop without patience.
  ~OtlpExporter();

  /// Sends what is left, one attempt each, for at most `patience`; the rest is dropped.
  void Stop(std::chrono::milliseconds patience);

 private:
  struct Connection;  // hides libcurl
  enum class Outcome { kTaken, kRefused, kRetry };

  OtlpExporter(OtlpOptions options, const Rings& rings, TraceCounters* counters);
  void Run();
  /// Moves spans from the rings to pending_, as many as it may hold.
  void Drain();
  void SendBatch();
  /// Waits, draining the rings. Returns: false if it was stopped in the meantime.
  bool WaitFor(Clock::duration duration);
  std::optional<Clock::time_point> StopDeadline() const;
  SpanId NewSpanId();

  const OtlpOptions options_;
  const Rings& rings_;
  TraceCounters& counters_;
  std::unique_ptr<Connection> connection_;
  std::mt19937_64 random_;
  LogLimit log_limit_{std::chrono::seconds(60)};
  std::deque<StoredSpan> pending_;
  Clock::time_point oldest_;  // when the first of pending_ came

  mutable std::mutex mutex_;  // guards stop_deadline_
  std::condition_variable stopped_;
  std::optional<Clock::time_point> stop_deadline_;
  std::thread thread_;
};

}  // namespace verdict
