#pragma once

#include <cstdint>
#include <vector>

namespace verdict::load {

/// A log-linear histogram of durations in nanoseconds, as HdrHistogram's with three significant
/// digits: below 2 us every nanosecond has a bucket of its own, above that every power of two is
/// cut into 1024 equal buckets, so that no value is off by more than 1 in 1024. Longer than an hour
/// is counted as an hour. Fixed memory (264 KiB); copies and merges freely. Threads: one at a time.
class Histogram {
 public:
  static constexpr int64_t kMaxNs = 3'600'000'000'000;

  struct Bucket {
    int64_t low_ns = 0;   // least value of the bucket
    int64_t high_ns = 0;  // greatest
    uint64_t count = 0;
  };

  Histogram();

  /// value_ns: below 0 counts as 0, above kMaxNs as kMaxNs. Cost: a shift and an increment.
  void Record(int64_t value_ns);
  void Add(const Histogram& other);
  void Clear();

  uint64_t count() const { return count_; }
  /// Exact, not of a bucket; 0 if empty.
  int64_t min_ns() const { return count_ == 0 ? 0 : min_ns_; }
  int64_t max_ns() const { return max_ns_; }
  double mean_ns() const;
  double deviation_ns() const;

  /// The least value such that at least `percentile` per cent of all are not above it, rounded up
  /// to the end of its bucket (never above the maximum). percentile: in [0, 100]. Returns 0 if
  /// empty.
  int64_t Percentile(double percentile) const;

  /// How many are at most value_ns, to the precision of the buckets.
  uint64_t CountAtMost(int64_t value_ns) const;

  /// The buckets that hold anything, ascending.
  std::vector<Bucket> Buckets() const;

 private:
  std::vector<uint64_t> counts_;
  uint64_t count_ = 0;
  int64_t min_ns_ = INT64_MAX;
  int64_t max_ns_ = 0;
  double sum_ns_ = 0;
  double sum_squares_ = 0;
};

}  // namespace verdict::load
