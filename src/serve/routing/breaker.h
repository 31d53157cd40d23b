#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>

namespace verdict {

struct BreakerOptions {
  uint32_t failures_in_row = 5;  // open it
  double failure_share = 0.5;    // of those within the window, which opens it too
  uint32_t window_ms = 10'000;   // begins with a failure
  uint32_t min_requests = 20;    // within the window, before the share counts
  uint32_t open_ms = 1'000;      // until the first probe; twice as long after each that fails
  uint32_t max_open_ms = 30'000;
  uint32_t probes = 3;  // that must succeed in a row to close it
};

/// A circuit breaker: what fails is left alone, and asked again now and then, one request at a
/// time, until it answers again.
///
/// Threads: any. The time is the caller's, so that tests need not wait.
/// Source: Nygard, "Release It!", chapter "Circuit Breaker".
class Breaker {
 public:
  using Clock = std::chrono::steady_clock;
  enum class State { kClosed, kHalfOpen, kOpen };

  explicit Breaker(const BreakerOptions& options) : options_(options) {}

  /// Whether a request may be tried now. Each that may ends with one of Succeed, Fail and Drop.
  [[nodiscard]] bool Allow(Clock::time_point now);
  void Succeed(Clock::time_point now);
  void Fail(Clock::time_point now);
  /// What was allowed has not been tried after all, or says nothing.
  void Drop();

  /// Whether Allow may say yes, without asking for it.
  bool CanAllow(Clock::time_point now) const;
  State state() const { return state_.load(std::memory_order_relaxed); }
  uint64_t opened() const { return opened_.load(std::memory_order_relaxed); }

 private:
  void Open(Clock::time_point now);  // with mutex_

  const BreakerOptions options_;
  std::atomic<State> state_{State::kClosed};
  std::atomic<uint64_t> opened_{0};
  // While it is closed, successes are counted without the mutex.
  std::atomic<uint32_t> failures_in_row_{0};
  std::atomic<uint64_t> succeeded_{0};  // within the window
  mutable std::mutex mutex_;            // guards all below, and changes of state_
  uint64_t failed_ = 0;                 // within the window
  Clock::time_point window_begin_{};
  Clock::time_point probe_at_{};  // while it is open
  uint32_t open_ms_ = 0;          // how long it is open for this time
  uint32_t probes_succeeded_ = 0;
  bool probing_ = false;  // one is under way
};

}  // namespace verdict
