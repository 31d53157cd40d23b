#pragma once

#include <span>
#include <string>
#include <vector>

namespace verdict {

/// Statistics of latencies in milliseconds, by trtexec's definitions: a percentile is a value that
/// occurred, nothing is interpolated.
struct LatencySummary {
  double min = 0;
  double max = 0;
  double mean = 0;
  double median = 0;
  std::vector<double> percentiles;      // one per percentile asked for
  double coefficient_of_variation = 0;  // standard deviation / mean
};

/// latencies_ms: at least one. percentiles: in [0, 100]. Cost: O(n log n).
LatencySummary Summarize(std::vector<double> latencies_ms, std::span<const double> percentiles);

/// "Latency: min = 0.0123 ms, …, percentile(99%) = 0.0456 ms", as trtexec writes it.
std::string LatencyLine(const LatencySummary& summary, std::span<const double> percentiles);

/// Five significant digits without an exponent: microseconds stay visible in milliseconds.
std::string FiveDigits(double value);

}  // namespace verdict
