#include "tools/latency_summary.h"

#include <gtest/gtest.h>

#include <array>
#include <numeric>

namespace verdict {
namespace {

constexpr std::array kPercentiles = {90.0, 95.0, 99.0};

TEST(LatencySummary, HoldsWhatTrtexecReports) {
  std::vector<double> latencies(100);
  std::iota(latencies.rbegin(), latencies.rend(), 1.0);  // 100 … 1
  const LatencySummary summary = Summarize(latencies, kPercentiles);
  EXPECT_EQ(summary.min, 1);
  EXPECT_EQ(summary.max, 100);
  EXPECT_EQ(summary.mean, 50.5);
  EXPECT_EQ(summary.median, 50.5);
  EXPECT_EQ(summary.percentiles[0], 90);
  EXPECT_EQ(summary.percentiles[1], 95);
  EXPECT_EQ(summary.percentiles[2], 99);
  EXPECT_NEAR(summary.coefficient_of_variation, 28.866 / 50.5, 1e-4);
}

TEST(LatencySummary, TakesASingleRun) {
  const LatencySummary summary = Summarize({0.5}, std::array{0.0, 50.0, 100.0});
  for (double percentile : summary.percentiles) EXPECT_EQ(percentile, 0.5);
  EXPECT_EQ(summary.median, 0.5);
  EXPECT_EQ(summary.coefficient_of_variation, 0);
}

TEST(LatencySummary, GivesTheEndsOfThePercentiles) {
  const LatencySummary summary = Summarize({3, 1, 2}, std::array{0.0, 100.0});
  EXPECT_EQ(summary.percentiles[0], 1);
  EXPECT_EQ(summary.percentiles[1], 3);
}

TEST(LatencySummary, KeepsMicrosecondsVisible) {
  EXPECT_EQ(FiveDigits(0.00123456), "0.0012346");
  EXPECT_EQ(FiveDigits(0.000012345678), "0.000012346");
  EXPECT_EQ(FiveDigits(1.5), "1.5000");
  EXPECT_EQ(FiveDigits(812345.6), "812346");
  EXPECT_EQ(FiveDigits(0), "0.0000");
}

TEST(LatencySummary, WritesTrtexecsLine) {
  const LatencySummary summary = Summarize({0.25, 0.5, 0.75}, std::array{90.0, 99.9});
  EXPECT_EQ(LatencyLine(summary, std::array{90.0, 99.9}),
            "Latency: min = 0.25000 ms, max = 0.75000 ms, mean = 0.50000 ms, median = 0.50000 ms, "
            "percentile(90%) = 0.75000 ms, percentile(99.9%) = 0.75000 ms");
}

}  // namespace
}  // namespace verdict
