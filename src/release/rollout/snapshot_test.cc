#include "release/rollout/snapshot.h"

#include <gtest/gtest.h>

#include <limits>

namespace verdict {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

TEST(RolloutSnapshot, LatenciesAreInTheBinBetweenItsEdges) {
  for (int i = 0; i < LatencyBins::kBins; ++i) {
    const double middle = (LatencyBins::EdgeUs(i) + LatencyBins::EdgeUs(i + 1)) / 2;
    EXPECT_EQ(LatencyBins::Of(middle), static_cast<size_t>(i));
  }
  EXPECT_NEAR(LatencyBins::EdgeUs(LatencyBins::kBins), 16.8e6, 0.1e6);
  for (const double low : {-1.0, 0.0, 15.0, kNaN}) EXPECT_EQ(LatencyBins::Of(low), 0U) << low;
  for (const double high : {17e6, 1e300, kInfinity}) {
    EXPECT_EQ(LatencyBins::Of(high), LatencyBins::kBins - 1U) << high;
  }
}

TEST(RolloutSnapshot, ScoresAreInBinsOfTheirLogOdds) {
  EXPECT_EQ(ScoreBins::Of(0.4999), 15U);
  EXPECT_EQ(ScoreBins::Of(0.5001), 16U);
  for (int i = 0; i < ScoreBins::kBins; ++i) {
    const double middle = -8 + 0.5 * i + 0.25;
    EXPECT_EQ(ScoreBins::Of(1 / (1 + std::exp(-middle))), static_cast<size_t>(i));
  }
  for (const double low : {-kInfinity, -1.0, 0.0, 1e-300, kNaN}) EXPECT_EQ(ScoreBins::Of(low), 0U);
  for (const double high : {1 - 1e-16, 1.0, 2.0, kInfinity}) {
    EXPECT_EQ(ScoreBins::Of(high), ScoreBins::kBins - 1U) << high;
  }
}

}  // namespace
}  // namespace verdict
