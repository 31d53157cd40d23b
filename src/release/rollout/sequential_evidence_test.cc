// The simulations look after every 50 requests, up to 20,000, as a dashboard would.

#include "release/rollout/sequential_evidence.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <iostream>
#include <random>

namespace verdict {
namespace {

constexpr double kAlpha = 0.05;
constexpr int kRuns = 600;
constexpr int kRequests = 20'000;
constexpr int kBetweenLooks = 50;
/// alpha, and three standard deviations of a count of runs.
const double kMostAlarms = kRuns * kAlpha + 3 * std::sqrt(kRuns * kAlpha * (1 - kAlpha));

/// The standard library's distributions are not the same everywhere; this is.
class Chance {
 public:
  explicit Chance(uint64_t seed) : random_(seed) {}
  double Uniform() { return static_cast<double>(random_() >> 11) * 0x1p-53; }
  bool Of(double probability) { return Uniform() < probability; }

 private:
  std::mt19937_64 random_;
};

struct Traffic {
  double canary_share;
  double champion_rate, canary_rate;
};

/// The request after which `is_alarm` first held; 0 if never.
template <typename IsAlarm>
int FirstAlarm(const Traffic& traffic, uint64_t seed, const IsAlarm& is_alarm) {
  Chance chance(seed);
  Proportion champion;
  Proportion canary;
  for (int request = 1; request <= kRequests; ++request) {
    const bool is_canary = chance.Of(traffic.canary_share);
    Proportion& side = is_canary ? canary : champion;
    ++side.trials;
    side.events += chance.Of(is_canary ? traffic.canary_rate : traffic.champion_rate) ? 1 : 0;
    if (request % kBetweenLooks == 0 && is_alarm(champion, canary)) return request;
  }
  return 0;
}

struct Alarms {
  int count = 0;
  double mean_requests = 0;  // of the runs with an alarm
};

template <typename IsAlarm>
Alarms Count(const Traffic& traffic, const IsAlarm& is_alarm) {
  Alarms alarms;
  for (int run = 0; run < kRuns; ++run) {
    const int first = FirstAlarm(traffic, static_cast<uint64_t>(run) + 1, is_alarm);
    alarms.count += first > 0 ? 1 : 0;
    alarms.mean_requests += first;
  }
  if (alarms.count > 0) alarms.mean_requests /= alarms.count;
  return alarms;
}

auto Sequential(double tolerance, Worse worse) {
  return [=](const Proportion& champion, const Proportion& canary) {
    return LogEvidence(champion, canary, tolerance, worse) >= -std::log(kAlpha);
  };
}

/// What one must not do: the two-sided z-test of a fixed number of samples, at every look.
bool NaiveTest(const Proportion& champion, const Proportion& canary) {
  const double m = static_cast<double>(champion.trials);
  const double n = static_cast<double>(canary.trials);
  if (m == 0 || n == 0) return false;
  const double p = static_cast<double>(champion.events) / m;
  const double q = static_cast<double>(canary.events) / n;
  const double pooled = static_cast<double>(champion.events + canary.events) / (m + n);
  return std::abs(q - p) > 1.96 * std::sqrt(pooled * (1 - pooled) * (1 / m + 1 / n));
}

void Report(const char* name, const Traffic& traffic, const Alarms& alarms) {
  std::cout << name << ": share " << traffic.canary_share << ", rates " << traffic.champion_rate
            << " and " << traffic.canary_rate << ": " << alarms.count << " of " << kRuns
            << " alarms, after " << std::llround(alarms.mean_requests) << " requests\n";
}

TEST(SequentialEvidence, KeepsAlphaUnderContinuousLooks) {
  for (const double share : {0.1, 0.5}) {
    for (const double rate : {0.002, 0.03, 0.5}) {
      const Traffic traffic{share, rate, rate};
      const Alarms alarms = Count(traffic, Sequential(0, Worse::kEither));
      Report("no difference", traffic, alarms);
      EXPECT_LE(alarms.count, kMostAlarms);
    }
  }
}

TEST(SequentialEvidence, TheSimulationWouldCatchATestThatMustNotBeLookedAt) {
  const Traffic traffic{0.5, 0.03, 0.03};
  const Alarms alarms = Count(traffic, NaiveTest);
  Report("naive", traffic, alarms);
  EXPECT_GT(alarms.count, 3 * kMostAlarms);
}

TEST(SequentialEvidence, KeepsAlphaAtTheEdgeOfTheTolerance) {
  const Traffic traffic{0.5, 0.03, 0.04};
  const Alarms alarms = Count(traffic, Sequential(0.01, Worse::kHigher));
  Report("at the tolerance", traffic, alarms);
  EXPECT_LE(alarms.count, kMostAlarms);
}

TEST(SequentialEvidence, FindsPlantedDifferences) {
  for (const Traffic& traffic : {Traffic{0.1, 0.002, 0.03}, Traffic{0.1, 0, 0.02},
                                 Traffic{0.5, 0.03, 0.06}, Traffic{0.1, 0.01, 0.1}}) {
    const Alarms alarms = Count(traffic, Sequential(0.001, Worse::kHigher));
    Report("planted", traffic, alarms);
    EXPECT_GE(alarms.count, kRuns * 0.99);
  }
}

TEST(SequentialEvidence, HasASide) {
  const Proportion low{100, 10'000};
  const Proportion high{300, 10'000};
  EXPECT_GT(LogEvidence(low, high, 0, Worse::kHigher), 20);
  EXPECT_LT(LogEvidence(high, low, 0, Worse::kHigher), 0);
  EXPECT_GT(LogEvidence(high, low, 0, Worse::kEither), 20);
  EXPECT_LT(LogEvidence(low, high, 0.03, Worse::kEither), 0);
}

TEST(SequentialEvidence, MoreToleranceIsLessEvidence) {
  double before = 1e9;
  for (const double tolerance : {0.0, 1e-9, 0.001, 0.01, 0.05, 0.09}) {
    const double now = LogEvidence({100, 10'000}, {1'000, 10'000}, tolerance, Worse::kHigher);
    EXPECT_LE(now, before + 1e-5) << tolerance;
    before = now;
  }
}

TEST(SequentialEvidence, BearsExtremeCounts) {
  constexpr uint64_t kMany = uint64_t{1} << 53;
  const std::array<Proportion, 6> sides{
      {{0, 0}, {0, 1}, {1, 1}, {5, 3}, {0, kMany}, {kMany, kMany}}};
  for (const Proportion& champion : sides) {
    for (const Proportion& canary : sides) {
      for (const double tolerance : {0.0, 0.01, 0.99}) {
        EXPECT_FALSE(std::isnan(LogEvidence(champion, canary, tolerance, Worse::kEither)))
            << champion.events << "/" << champion.trials << " " << canary.events << "/"
            << canary.trials;
      }
    }
  }
  EXPECT_EQ(LogEvidence({0, 0}, {10, 10}, 0, Worse::kEither), 0);
}

/// Latencies of 40 bins: an exponential tail.
template <typename IsAlarm>
int LatencyAlarms(int slower_bins, const IsAlarm& is_alarm) {
  int count = 0;
  for (int run = 0; run < kRuns; ++run) {
    Chance chance(static_cast<uint64_t>(run) + 1);
    std::array<uint64_t, 40> champion{};
    std::array<uint64_t, 40> canary{};
    for (int request = 1; request <= kRequests / 4; ++request) {
      const bool is_canary = chance.Of(0.2);
      const int bin = static_cast<int>(-4 * std::log(1 - chance.Uniform()));
      const int shifted = std::min(39, bin + (is_canary ? slower_bins : 0));
      ++(is_canary ? canary : champion).at(static_cast<size_t>(shifted));
      if (request % kBetweenLooks == 0 && is_alarm(champion, canary)) {
        ++count;
        break;
      }
    }
  }
  return count;
}

TEST(SequentialEvidence, LatencyKeepsAlphaAndFindsASlowCanary) {
  const auto slower = [](const auto& champion, const auto& canary) {
    return SlowerEvidence(champion, canary, 0.5, 2, 0).log_evidence >= -std::log(kAlpha);
  };
  EXPECT_LE(LatencyAlarms(0, slower), kMostAlarms);
  EXPECT_LE(LatencyAlarms(2, slower), kMostAlarms);  // as slow as the factor allows
  EXPECT_GE(LatencyAlarms(6, slower), kRuns * 0.99);
}

TEST(SequentialEvidence, DistributionsKeepAlphaAndShiftsAreFound) {
  const auto other = [](const auto& champion, const auto& canary) {
    return DistributionEvidence(champion, canary) >= -std::log(kAlpha);
  };
  EXPECT_LE(LatencyAlarms(0, other), kMostAlarms);
  EXPECT_GE(LatencyAlarms(2, other), kRuns * 0.99);
}

}  // namespace
}  // namespace verdict
