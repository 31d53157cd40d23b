#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace verdict {

/// Latencies in bins whose edges grow by 2^(1/8), from 16 us to 16 s; the ends hold what is beyond.
struct LatencyBins {
  static constexpr int kBins = 160;
  static constexpr int kPerDoubling = 8;
  static constexpr double kFirstEdgeUs = 16;

  /// The lower edge of bin i, which for i > 0 is the upper edge of bin i-1.
  static double EdgeUs(int i) {
    return kFirstEdgeUs * std::exp2(static_cast<double>(i) / kPerDoubling);
  }
  static size_t Of(double latency_us) {
    if (!(latency_us > kFirstEdgeUs)) return 0;
    const double bin = std::floor(std::log2(latency_us / kFirstEdgeUs) * kPerDoubling);
    return static_cast<size_t>(std::min<double>(bin, kBins - 1));
  }
};

/// Scores from 0 to 1 in bins of equal width of their log-odds, from -8 to 8: fraud scores crowd
/// near 0, where bins of equal width of the score would see nothing.
struct ScoreBins {
  static constexpr int kBins = 32;
  /// score: not NaN; below 0 counts as 0, above 1 as 1.
  static size_t Of(double score) {
    if (!(score > 0)) return 0;
    if (score >= 1) return kBins - 1;
    const double log_odds = std::log(score) - std::log1p(-score);
    return static_cast<size_t>(std::clamp<double>(std::floor(log_odds * 2 + 16), 0, kBins - 1));
  }
};

/// What one side of a rollout has seen. Counters may be read one after another while requests go
/// on: a part may be ahead of its whole by a few, which the checks bear.
struct RolloutArm {
  uint64_t requests = 0;
  uint64_t errors = 0;          // of the requests; timeouts are not among them
  uint64_t timeouts = 0;        // of the requests
  uint64_t not_a_number = 0;    // of the answers: requests less errors and timeouts
  uint64_t over_threshold = 0;  // of the answers that are numbers
  std::array<uint64_t, LatencyBins::kBins> latencies{};
  std::array<uint64_t, ScoreBins::kBins> scores{};
  bool operator==(const RolloutArm&) const = default;
};

/// Both sides over the same time. Counting begins anew when the percentage changes: sums over times
/// of other percentages would compare the champion's night with the canary's day.
struct RolloutSnapshot {
  RolloutArm champion, canary;
  double seconds = 0;  // since counting began
  bool operator==(const RolloutSnapshot&) const = default;
};

}  // namespace verdict
