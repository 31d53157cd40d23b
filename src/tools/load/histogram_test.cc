#include "tools/load/histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

namespace verdict::load {
namespace {

TEST(Histogram, IsEmptyAtFirst) {
  const Histogram histogram;
  EXPECT_EQ(histogram.count(), 0u);
  EXPECT_EQ(histogram.Percentile(50), 0);
  EXPECT_EQ(histogram.min_ns(), 0);
  EXPECT_EQ(histogram.max_ns(), 0);
  EXPECT_EQ(histogram.mean_ns(), 0);
  EXPECT_TRUE(histogram.Buckets().empty());
}

TEST(Histogram, EveryValueLiesInItsBucketAndBucketsMeet) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 100'000; ++i) {
    const int64_t value = static_cast<int64_t>(random() % Histogram::kMaxNs) >> (random() % 42);
    Histogram histogram;
    if (i % 1000 != 0 && value > 4096) continue;  // making a histogram is slow
    histogram.Record(value);
    const auto buckets = histogram.Buckets();
    ASSERT_EQ(buckets.size(), 1u) << value;
    ASSERT_LE(buckets[0].low_ns, value);
    ASSERT_GE(buckets[0].high_ns, value);
    ASSERT_LE(buckets[0].high_ns - buckets[0].low_ns, value / 1024) << value;
    if (i > 3000) break;
  }
  Histogram dense;
  for (int64_t value = 0; value < 100'000; ++value) dense.Record(value);
  int64_t next = 0;
  for (const Histogram::Bucket& bucket : dense.Buckets()) {
    ASSERT_EQ(bucket.low_ns, next);
    next = bucket.high_ns + 1;
    if (next < 99'000) ASSERT_EQ(bucket.count, uint64_t(next - bucket.low_ns));
  }
}

TEST(Histogram, PercentilesAreThoseOfTheSortedValuesToThreeDigits) {
  std::mt19937_64 random(7);
  std::lognormal_distribution<double> micros(5, 2);
  Histogram histogram;
  std::vector<int64_t> values;
  for (int i = 0; i < 50'000; ++i) {
    values.push_back(static_cast<int64_t>(micros(random) * 1e3));
    histogram.Record(values.back());
  }
  std::ranges::sort(values);
  for (const double percentile : {0.0, 1.0, 50.0, 90.0, 95.0, 99.0, 99.9, 99.99, 100.0}) {
    const double rank = std::ceil(percentile / 100 * static_cast<double>(values.size()) - 1e-6);
    const auto exact = static_cast<double>(values[static_cast<size_t>(std::max(rank, 1.0)) - 1]);
    const auto got = static_cast<double>(histogram.Percentile(percentile));
    EXPECT_GE(got, exact) << percentile;
    EXPECT_LE(got, exact * (1 + 1.0 / 1024)) << percentile;
  }
  EXPECT_EQ(histogram.Percentile(100), values.back());
  EXPECT_EQ(histogram.min_ns(), values.front());
  EXPECT_EQ(histogram.max_ns(), values.back());
}

TEST(Histogram, APercentileIsAValueThatOccurredNotOneMore) {
  Histogram histogram;
  for (int i = 0; i < 999; ++i) histogram.Record(100);
  histogram.Record(2000);
  EXPECT_EQ(histogram.Percentile(99.9), 100);
  EXPECT_EQ(histogram.Percentile(99.91), 2000);
}

TEST(Histogram, HoldsWhatIsOutOfRangeAtItsEnds) {
  Histogram histogram;
  histogram.Record(-5);
  histogram.Record(INT64_MAX);
  EXPECT_EQ(histogram.min_ns(), 0);
  EXPECT_EQ(histogram.max_ns(), Histogram::kMaxNs);
  EXPECT_EQ(histogram.Percentile(100), Histogram::kMaxNs);
  EXPECT_EQ(histogram.count(), 2u);
}

TEST(Histogram, AddingIsRecordingBoth) {
  Histogram left;
  Histogram right;
  Histogram both;
  for (int64_t value = 1; value < 1'000'000'000; value = value * 5 / 4 + 1) {
    (value % 2 == 0 ? left : right).Record(value);
    both.Record(value);
  }
  left.Add(right);
  EXPECT_EQ(left.count(), both.count());
  EXPECT_EQ(left.min_ns(), both.min_ns());
  EXPECT_EQ(left.max_ns(), both.max_ns());
  EXPECT_NEAR(left.mean_ns(), both.mean_ns(), 1);
  EXPECT_NEAR(left.deviation_ns(), both.deviation_ns(), 10);
  for (const double p : {10.0, 50.0, 99.0}) EXPECT_EQ(left.Percentile(p), both.Percentile(p));
  left.Clear();
  EXPECT_EQ(left.count(), 0u);
  EXPECT_EQ(left.CountAtMost(Histogram::kMaxNs), 0u);
}

TEST(Histogram, CountsWhatIsAtMostAValue) {
  Histogram histogram;
  for (int64_t value = 1; value <= 1000; ++value) histogram.Record(value * 1000);
  EXPECT_EQ(histogram.CountAtMost(-1), 0u);
  EXPECT_EQ(histogram.CountAtMost(1000), 1u);
  EXPECT_NEAR(static_cast<double>(histogram.CountAtMost(500'000)), 500, 1);
  EXPECT_EQ(histogram.CountAtMost(INT64_MAX), 1000u);
}

TEST(Histogram, MeanAndDeviationAreExact) {
  Histogram histogram;
  for (const int64_t value : {1'000'000, 3'000'000}) histogram.Record(value);
  EXPECT_DOUBLE_EQ(histogram.mean_ns(), 2'000'000);
  EXPECT_DOUBLE_EQ(histogram.deviation_ns(), 1'000'000);
}

}  // namespace
}  // namespace verdict::load
