#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

namespace verdict {

/// When to turn less urgent requests away, so that the urgent ones still meet their deadlines.
struct ShedPolicy {
  /// Of the requests in flight that are allowed in total: from that share on, in (0, 1].
  double in_flight_watermark = 0.8;
  /// Time in the queue at which shedding begins; 0: the queue's delay does not count.
  std::chrono::microseconds queue_delay_watermark{0};
  /// At which even the most urgent are turned away; 0: twice the watermark.
  std::chrono::microseconds queue_delay_limit{0};
  uint32_t priority_levels = 3;   // 1 is most urgent
  uint32_t default_priority = 2;  // of requests that name none (0)
};

/// The load at one moment.
struct LoadSnapshot {
  int64_t in_flight = 0;
  int64_t max_in_flight = 0;  // 0: unlimited, so no share of it counts
  std::chrono::microseconds queue_delay{0};
};

/// Whether a request of that priority is admitted: always below the watermarks; between watermark
/// and limit the least urgent go first, level by level; at the limit nobody is.
///
/// priority: 1 is most urgent; 0 is the policy's default; over the number of levels is the last.
/// Threads: pure.
bool AdmitsUnderLoad(const ShedPolicy& policy, const LoadSnapshot& load, uint32_t priority);

/// Follows how long requests wait in the queue. Threads: any.
class QueueDelayMeter {
 public:
  using Clock = std::chrono::steady_clock;

  /// A request began to run after so long in the queue.
  void Observe(std::chrono::microseconds delay, Clock::time_point now);

  /// The average over the last requests; halves with every 50 ms in which none ran, so that a
  /// server that turns everybody away finds out that it no longer must.
  std::chrono::microseconds Estimate(Clock::time_point now) const;

 private:
  std::atomic<int64_t> average_us_{0};
  std::atomic<int64_t> observed_ns_{0};
};

}  // namespace verdict
