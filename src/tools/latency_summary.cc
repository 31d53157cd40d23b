#include "tools/latency_summary.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <numeric>

#include "base/status.h"

namespace verdict {

LatencySummary Summarize(std::vector<double> latencies_ms, std::span<const double> percentiles) {
  VERDICT_CHECK(!latencies_ms.empty());
  std::ranges::sort(latencies_ms);
  const size_t count = latencies_ms.size();
  LatencySummary summary;
  summary.min = latencies_ms.front();
  summary.max = latencies_ms.back();
  summary.mean =
      std::accumulate(latencies_ms.begin(), latencies_ms.end(), 0.0) / static_cast<double>(count);
  summary.median = (latencies_ms[(count - 1) / 2] + latencies_ms[count / 2]) / 2;
  for (double percentile : percentiles) {
    // The slack keeps 90 % of 100 runs from losing one to rounding.
    constexpr double kSlack = 1e-9;
    const auto excluded =
        static_cast<size_t>((100 - percentile) * static_cast<double>(count) / 100 + kSlack);
    summary.percentiles.push_back(latencies_ms[count - 1 - std::min(excluded, count - 1)]);
  }
  double squares = 0;
  for (double latency : latencies_ms) {
    squares += (latency - summary.mean) * (latency - summary.mean);
  }
  if (summary.mean > 0) {
    summary.coefficient_of_variation =
        std::sqrt(squares / static_cast<double>(count)) / summary.mean;
  }
  return summary;
}

std::string FiveDigits(double value) {
  constexpr int kDigits = 5;
  constexpr int kMaxDecimals = 9;
  int decimals = kDigits - 1;
  if (value > 0) decimals -= static_cast<int>(std::floor(std::log10(value)));
  std::array<char, 64> buffer;
  const int length = std::snprintf(buffer.data(), buffer.size(), "%.*f",
                                   std::clamp(decimals, 0, kMaxDecimals), value);
  return {buffer.data(), static_cast<size_t>(length)};
}

std::string LatencyLine(const LatencySummary& summary, std::span<const double> percentiles) {
  std::string line = "Latency: min = " + FiveDigits(summary.min) +
                     " ms, max = " + FiveDigits(summary.max) +
                     " ms, mean = " + FiveDigits(summary.mean) +
                     " ms, median = " + FiveDigits(summary.median) + " ms";
  for (size_t i = 0; i < percentiles.size(); ++i) {
    std::array<char, 32> name;
    std::snprintf(name.data(), name.size(), "%g", percentiles[i]);
    line += ", percentile(" + std::string(name.data()) +
            "%) = " + FiveDigits(summary.percentiles[i]) + " ms";
  }
  return line;
}

}  // namespace verdict
