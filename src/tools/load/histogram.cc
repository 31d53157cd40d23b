#include "tools/load/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace verdict::load {
namespace {

// 2^11 values lie in the exact part; each later power of two has half as many buckets.
constexpr int kExactBits = 11;
constexpr int64_t kExact = int64_t{1} << kExactBits;
constexpr int64_t kHalf = kExact / 2;

size_t IndexOf(int64_t value) {
  if (value < kExact) return static_cast<size_t>(value);
  const int shift = std::bit_width(static_cast<uint64_t>(value)) - kExactBits;
  return static_cast<size_t>(shift * kHalf + (value >> shift));
}

int64_t LowOf(size_t index) {
  const auto i = static_cast<int64_t>(index);
  if (i < kExact) return i;
  const int64_t shift = (i - kExact) / kHalf + 1;
  return (i - shift * kHalf) << shift;
}

int64_t HighOf(size_t index) { return LowOf(index + 1) - 1; }

}  // namespace

Histogram::Histogram() : counts_(IndexOf(kMaxNs) + 1) {}

void Histogram::Record(int64_t value_ns) {
  const int64_t value = std::clamp<int64_t>(value_ns, 0, kMaxNs);
  ++counts_[IndexOf(value)];
  ++count_;
  min_ns_ = std::min(min_ns_, value);
  max_ns_ = std::max(max_ns_, value);
  const auto real = static_cast<double>(value);
  sum_ns_ += real;
  sum_squares_ += real * real;
}

void Histogram::Add(const Histogram& other) {
  for (size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
  count_ += other.count_;
  min_ns_ = std::min(min_ns_, other.min_ns_);
  max_ns_ = std::max(max_ns_, other.max_ns_);
  sum_ns_ += other.sum_ns_;
  sum_squares_ += other.sum_squares_;
}

void Histogram::Clear() {
  std::ranges::fill(counts_, 0);
  count_ = 0;
  min_ns_ = INT64_MAX;
  max_ns_ = 0;
  sum_ns_ = sum_squares_ = 0;
}

double Histogram::mean_ns() const {
  return count_ == 0 ? 0 : sum_ns_ / static_cast<double>(count_);
}

double Histogram::deviation_ns() const {
  if (count_ == 0) return 0;
  const double mean = mean_ns();
  return std::sqrt(std::max(0.0, sum_squares_ / static_cast<double>(count_) - mean * mean));
}

int64_t Histogram::Percentile(double percentile) const {
  if (count_ == 0) return 0;
  // The slack keeps 99.9 % of 1000 from asking for one more because of rounding.
  constexpr double kSlack = 1e-9;
  const double wanted = percentile / 100 * static_cast<double>(count_) * (1 - kSlack);
  const auto rank = std::clamp<uint64_t>(static_cast<uint64_t>(std::ceil(wanted)), 1, count_);
  uint64_t seen = 0;
  for (size_t i = 0; i < counts_.size(); ++i) {
    seen += counts_[i];
    if (seen >= rank) return std::clamp(HighOf(i), min_ns_, max_ns_);
  }
  return max_ns_;
}

uint64_t Histogram::CountAtMost(int64_t value_ns) const {
  if (value_ns < 0) return 0;
  const size_t last = IndexOf(std::min(value_ns, kMaxNs));
  uint64_t seen = 0;
  for (size_t i = 0; i <= last; ++i) seen += counts_[i];
  return seen;
}

std::vector<Histogram::Bucket> Histogram::Buckets() const {
  std::vector<Bucket> buckets;
  for (size_t i = 0; i < counts_.size(); ++i) {
    if (counts_[i] != 0) buckets.push_back({LowOf(i), HighOf(i), counts_[i]});
  }
  return buckets;
}

}  // namespace verdict::load
