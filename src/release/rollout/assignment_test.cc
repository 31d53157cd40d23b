#include "release/rollout/assignment.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <string>

namespace verdict {
namespace {

std::string Key(int i) { return "card-" + std::to_string(i); }

TEST(RolloutAssignment, MoreStepsOnlyAddKeys) {
  for (int i = 0; i < 2'000; ++i) {
    bool before = false;
    for (uint32_t steps = 0; steps <= kRolloutSteps; steps += 50) {
      const bool now = GoesToCanary("r1", Key(i), steps);
      ASSERT_TRUE(now || !before) << Key(i) << " left the canary at " << steps << " steps";
      before = now;
    }
    ASSERT_TRUE(before) << Key(i) << " is not among everybody";
    ASSERT_FALSE(GoesToCanary("r1", Key(i), 0));
  }
}

TEST(RolloutAssignment, StaysTheSameInEveryBuild) {
  // Counted once, by a program of another language; another number means that running rollouts
  // would swap keys at an update.
  int canaries = 0;
  uint64_t which = 0;
  for (int i = 0; i < 1'000; ++i) {
    if (!GoesToCanary("r1", Key(i), 1'000)) continue;
    ++canaries;
    which = which * 31 + static_cast<uint64_t>(i);
  }
  EXPECT_EQ(canaries, 115);
  EXPECT_EQ(which, 14981709068524130298U);
}

TEST(RolloutAssignment, SharesAreAsAsked) {
  constexpr int kKeys = 200'000;
  for (const uint32_t steps : {1u, 100u, 500u, 5'000u, 9'999u}) {
    int canaries = 0;
    for (int i = 0; i < kKeys; ++i) canaries += GoesToCanary("r1", Key(i), steps) ? 1 : 0;
    const double share = static_cast<double>(steps) / kRolloutSteps;
    EXPECT_NEAR(canaries, kKeys * share, 4 * std::sqrt(kKeys * share * (1 - share)) + 1) << steps;
  }
}

TEST(RolloutAssignment, KeysSpreadEvenlyOverTheSteps) {
  // Chi-square of 100 groups of equal size: 99 degrees of freedom, above 160 once in 10,000.
  constexpr int kKeys = 100'000;
  constexpr int kGroups = 100;
  std::array<int, kGroups> counts{};
  for (int i = 0; i < kKeys; ++i) {
    int group = 0;
    while (!GoesToCanary("r1", Key(i), static_cast<uint32_t>(group + 1) * 100)) ++group;
    ++counts.at(static_cast<size_t>(group));
  }
  double chi_square = 0;
  for (const int count : counts) {
    const double expected = static_cast<double>(kKeys) / kGroups;
    chi_square += (count - expected) * (count - expected) / expected;
  }
  EXPECT_LT(chi_square, 160);
}

TEST(RolloutAssignment, AnotherRolloutPicksOtherKeys) {
  int both = 0;
  constexpr int kKeys = 100'000;
  for (int i = 0; i < kKeys; ++i) {
    both += GoesToCanary("r1", Key(i), 1'000) && GoesToCanary("r2", Key(i), 1'000) ? 1 : 0;
  }
  EXPECT_NEAR(both, kKeys * 0.01, 4 * std::sqrt(kKeys * 0.01));  // 10 % of 10 %
}

}  // namespace
}  // namespace verdict
