#include "release/rollout/psi.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <random>

namespace verdict {
namespace {

using Histogram = std::array<uint64_t, 32>;

/// `count` scores spread as two dice of 16 sides are, `shift` bins to the right.
Histogram Draw(int count, int shift, std::mt19937_64& random) {
  Histogram histogram{};
  for (int i = 0; i < count; ++i) {
    const auto bin = static_cast<int>((random() >> 60) + (random() >> 60)) + shift;
    ++histogram.at(static_cast<size_t>(std::clamp(bin, 0, 31)));
  }
  return histogram;
}

TEST(PopulationStability, IsTheFormula) {
  const std::array<uint64_t, 2> champion{500'000, 500'000};
  const std::array<uint64_t, 2> canary{250'000, 750'000};
  const StabilityIndex index = PopulationStability(champion, canary);
  EXPECT_EQ(index.bins, 2);
  // (.25 - .5) log(.25 / .5) + (.75 - .5) log(.75 / .5)
  EXPECT_NEAR(index.raw, 0.25 * std::log(2) + 0.25 * std::log(1.5), 1e-5);
  EXPECT_NEAR(index.bias, 2e-6, 1e-12);
}

TEST(PopulationStability, MergesRareBinsAndSeesWhereOneSideIsEmpty) {
  std::array<uint64_t, 5> champion{0, 1'000, 0, 0, 0};
  std::array<uint64_t, 5> canary{0, 0, 0, 1'000, 0};
  const StabilityIndex apart = PopulationStability(champion, canary);
  EXPECT_EQ(apart.bins, 2);
  EXPECT_GT(apart.corrected(), 5);
  canary = {1, 1'000, 0, 1, 1};
  const StabilityIndex alike = PopulationStability(champion, canary);
  EXPECT_EQ(alike.bins, 1);
  EXPECT_EQ(alike.corrected(), 0);
}

TEST(PopulationStability, NothingSeenIsNoShift) {
  const Histogram none{};
  Histogram some{};
  some[3] = 10;
  EXPECT_EQ(PopulationStability(none, some).corrected(), 0);
  EXPECT_EQ(PopulationStability(some, none).corrected(), 0);
}

TEST(PopulationStability, TheBiasOfFewSamplesIsTakenOff) {
  for (const int count : {200, 500, 2'000}) {
    std::mt19937_64 random(7);
    constexpr int kRuns = 2'000;
    double sum = 0;
    double raw = 0;
    double scale = 0;
    for (int run = 0; run < kRuns; ++run) {
      const Histogram champion = Draw(4'000, 0, random);
      const StabilityIndex index = PopulationStability(champion, Draw(count, 0, random));
      sum += index.raw - index.bias;
      raw += index.raw;
      scale += index.bias;
    }
    EXPECT_NEAR(sum / kRuns, 0, 0.1 * scale / kRuns) << count << " samples";
    EXPECT_GT(raw / kRuns, 0.9 * scale / kRuns) << "there is a bias to take off";
  }
}

TEST(PopulationStability, EnoughSamplesRaiseNoAlarmWhereNothingShifted) {
  constexpr double kLimit = 0.25;
  std::mt19937_64 random(11);
  int judged = 0;
  int alarms = 0;
  int found = 0;
  for (int run = 0; run < 2'000; ++run) {
    const int count = 50 + run % 400;
    const Histogram champion = Draw(4'000, 0, random);
    const StabilityIndex same = PopulationStability(champion, Draw(count, 0, random));
    const StabilityIndex shifted = PopulationStability(champion, Draw(count, 6, random));
    if (!StabilityMeansSomething(same.bins, 4'000, static_cast<uint64_t>(count), kLimit)) continue;
    ++judged;
    alarms += same.corrected() > kLimit ? 1 : 0;
    found += shifted.corrected() > kLimit ? 1 : 0;
  }
  EXPECT_GT(judged, 1'000);
  EXPECT_EQ(alarms, 0);
  EXPECT_EQ(found, judged);
}

TEST(PopulationStability, SaysHowManySamplesItNeeds) {
  EXPECT_FALSE(StabilityMeansSomething(20, 1'000'000, 140, 0.25));
  EXPECT_TRUE(StabilityMeansSomething(20, 1'000'000, 160, 0.25));
  EXPECT_FALSE(StabilityMeansSomething(20, 1'000'000, 360, 0.1));
  EXPECT_TRUE(StabilityMeansSomething(20, 1'000'000, 380, 0.1));
  EXPECT_FALSE(StabilityMeansSomething(20, 160, 160, 0.25));
  EXPECT_FALSE(StabilityMeansSomething(20, 0, 160, 0.25));
}

}  // namespace
}  // namespace verdict
