#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace verdict {

/// How fast requests may come: a steady rate, and how many at once before that.
///
/// Source: the generic cell rate algorithm, ITU-T I.371, which is a token bucket whose whole state
/// is one point in time: when all that was let through would be due at the steady rate.
class BucketRate {
 public:
  /// Lets everything through.
  BucketRate() = default;
  /// per_s: requests a second, > 0; below one in 1000 seconds is that. burst: at least 1; 0 is what
  /// one second brings.
  BucketRate(double per_s, double burst)
      : interval_ns_(static_cast<int64_t>(1e9 / std::clamp(per_s, 1e-3, 1e9))),
        burst_ns_(static_cast<int64_t>(static_cast<double>(interval_ns_) *
                                       std::clamp(burst > 0 ? burst : per_s, 1.0, 1e6))) {}

  bool unlimited() const { return interval_ns_ == 0; }
  int64_t interval_ns() const { return interval_ns_; }

  /// One more request at `now_ns`: 0 if it may pass, then *due_ns is moved on; else how long to
  /// wait before it may, in nanoseconds. *due_ns begins as 0. Threads: pure.
  int64_t Take(int64_t now_ns, int64_t* due_ns) const {
    if (unlimited()) return 0;
    const int64_t due = std::max(*due_ns, now_ns) + interval_ns_;
    if (due - now_ns > burst_ns_) return due - now_ns - burst_ns_;
    *due_ns = due;
    return 0;
  }

 private:
  int64_t interval_ns_ = 0;
  int64_t burst_ns_ = 0;
};

/// A bucket that many threads take from.
class SharedBucket {
 public:
  explicit SharedBucket(BucketRate rate) : rate_(rate) {}

  /// As BucketRate::Take. Threads: any.
  int64_t Take(int64_t now_ns) {
    if (rate_.unlimited()) return 0;
    int64_t due = due_ns_.load(std::memory_order_relaxed);
    while (true) {
      int64_t next = due;
      if (const int64_t wait = rate_.Take(now_ns, &next); wait > 0) return wait;
      if (due_ns_.compare_exchange_weak(due, next, std::memory_order_relaxed)) return 0;
    }
  }

 private:
  const BucketRate rate_;
  std::atomic<int64_t> due_ns_{0};
};

}  // namespace verdict
