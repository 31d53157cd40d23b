#include "tools/load/arrivals.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace verdict::load {
namespace {

std::vector<double> GapsOf(std::vector<Arrivals> parts, int64_t until_ns) {
  std::vector<int64_t> times;
  for (Arrivals& part : parts) {
    for (int64_t time = part.Next(); time < until_ns; time = part.Next()) times.push_back(time);
  }
  std::ranges::sort(times);
  std::vector<double> gaps;
  for (size_t i = 1; i < times.size(); ++i) {
    gaps.push_back(static_cast<double>(times[i] - times[i - 1]));
  }
  return gaps;
}

double Mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

/// Greatest distance between the gaps' distribution and the exponential one of that mean.
double KolmogorovSmirnov(std::vector<double> gaps, double mean) {
  std::ranges::sort(gaps);
  const auto n = static_cast<double>(gaps.size());
  double distance = 0;
  for (size_t i = 0; i < gaps.size(); ++i) {
    const double expected = 1 - std::exp(-gaps[i] / mean);
    distance = std::max({distance, std::abs(expected - static_cast<double>(i) / n),
                         std::abs(expected - static_cast<double>(i + 1) / n)});
  }
  return distance;
}

TEST(Arrivals, PoissonGapsAreExponentialWhateverTheNumberOfParts) {
  constexpr double kRate = 10'000;
  for (const int parts : {1, 3, 8}) {
    std::vector<Arrivals> all;
    for (int part = 0; part < parts; ++part) {
      all.push_back(Arrivals::Poisson(kRate, 42, part, parts));
    }
    const auto gaps = GapsOf(std::move(all), 10'000'000'000);
    // 100,000 expected, deviation 316: five deviations.
    EXPECT_NEAR(static_cast<double>(gaps.size()), 100'000, 1600) << parts;
    // The 0.1 % point of the Kolmogorov-Smirnov statistic is 1.95 / sqrt(n).
    EXPECT_LT(KolmogorovSmirnov(gaps, 1e9 / kRate),
              1.95 / std::sqrt(static_cast<double>(gaps.size())))
        << parts;
  }
}

TEST(Arrivals, PoissonCountsInAWindowVaryAsMuchAsTheirMean) {
  Arrivals arrivals = Arrivals::Poisson(1000, 5, 0, 1);
  std::vector<double> counts(2000);  // of 10 ms each, 10 expected
  for (int64_t time = arrivals.Next(); time < 20'000'000'000; time = arrivals.Next()) {
    ++counts[static_cast<size_t>(time / 10'000'000)];
  }
  const double mean = Mean(counts);
  double variance = 0;
  for (const double count : counts) variance += (count - mean) * (count - mean);
  variance /= static_cast<double>(counts.size());
  EXPECT_NEAR(mean, 10, 0.4);
  EXPECT_NEAR(variance / mean, 1, 0.16);  // five deviations of the dispersion index
}

TEST(Arrivals, TheSameSeedGivesTheSameTimesAndAnotherOthers) {
  Arrivals first = Arrivals::Poisson(100, 7, 0, 2);
  Arrivals again = Arrivals::Poisson(100, 7, 0, 2);
  Arrivals other_seed = Arrivals::Poisson(100, 8, 0, 2);
  Arrivals other_part = Arrivals::Poisson(100, 7, 1, 2);
  const int64_t time = first.Next();
  EXPECT_EQ(again.Next(), time);
  EXPECT_NE(other_seed.Next(), time);
  EXPECT_NE(other_part.Next(), time);
}

TEST(Arrivals, ConstantGapsAreEqualWhateverTheNumberOfParts) {
  for (const int parts : {1, 4}) {
    std::vector<Arrivals> all;
    for (int part = 0; part < parts; ++part) all.push_back(Arrivals::Constant(1000, part, parts));
    const auto gaps = GapsOf(std::move(all), 1'000'000'000);
    ASSERT_EQ(gaps.size(), 999u);
    for (const double gap : gaps) ASSERT_NEAR(gap, 1e6, 1);
  }
}

TEST(Arrivals, ConstantDoesNotDriftOverHours) {
  Arrivals arrivals = Arrivals::Constant(30'000, 0, 1);  // a gap of 33,333.3 ns
  int64_t time = 0;
  for (int i = 0; i <= 30'000 * 100; ++i) time = arrivals.Next();
  EXPECT_NEAR(static_cast<double>(time), 100e9, 1);
}

TEST(Arrivals, ReplayGivesEachPartItsShareThenEnds) {
  const std::vector<int64_t> times = {5, 10, 10, 30, 31};
  Arrivals even = Arrivals::Replay(times, 0, 2);
  Arrivals odd = Arrivals::Replay(times, 1, 2);
  for (const int64_t expected : {int64_t{5}, int64_t{10}, int64_t{31}, Arrivals::kEnd}) {
    EXPECT_EQ(even.Next(), expected);
  }
  EXPECT_EQ(odd.Next(), 10);
  EXPECT_EQ(odd.index(), 1);
  EXPECT_EQ(odd.Next(), 30);
  EXPECT_EQ(odd.index(), 3);
  EXPECT_EQ(odd.Next(), Arrivals::kEnd);
  EXPECT_EQ(odd.Next(), Arrivals::kEnd);
}

TEST(Arrivals, AVerySmallRateStaysInRange) {
  Arrivals arrivals = Arrivals::Poisson(1e-300, 1, 0, 1);
  for (int i = 0; i < 3; ++i) EXPECT_GT(arrivals.Next(), 1'000'000'000'000'000'000);
}

}  // namespace
}  // namespace verdict::load
