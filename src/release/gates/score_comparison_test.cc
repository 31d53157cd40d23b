#include "release/gates/score_comparison.h"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>

namespace verdict {
namespace {

using ::testing::HasSubstr;

const std::vector<float> kLabels = {0, 1, 0, 1, 1, 0, 0, 1};
const std::vector<float> kBaseline = {.1F, .8F, .3F, .3F, .9F, .05F, .8F, .2F};
const std::vector<float> kCandidate = {.2F, .8F, .3F, .2F, .9F, .05F, .7F, .6F};

ScoreComparison Compare(const std::vector<float>& baseline, const std::vector<float>& candidate,
                        const std::vector<float>& labels, const ComparisonOptions& options = {}) {
  const auto found = CompareScores(baseline, candidate, labels, options);
  EXPECT_TRUE(found.ok()) << found.status().ToString();
  return found.ok() ? *found : ScoreComparison();
}

// sklearn.metrics.roc_auc_score and average_precision_score, scipy.stats.ks_2samp.
TEST(ScoreComparison, IsWhatSklearnAndScipySay) {
  const ScoreComparison found = Compare(kBaseline, kCandidate, kLabels);
  EXPECT_DOUBLE_EQ(found.baseline_auc, 0.75);
  EXPECT_NEAR(found.baseline_pr_auc, 0.7333333333333333, 1e-12);
  EXPECT_DOUBLE_EQ(found.candidate_auc, 0.78125);
  EXPECT_NEAR(found.candidate_pr_auc, 0.8303571428571428, 1e-12);
  EXPECT_DOUBLE_EQ(found.kolmogorov_smirnov, 0.125);
  EXPECT_EQ(found.rows, 8);
  EXPECT_EQ(found.positives, 4);
  EXPECT_DOUBLE_EQ(found.auc_drop(), -0.03125);
}

TEST(ScoreComparison, EqualScoresTellNothingApart) {
  const std::vector<float> same(8, 0.5F);
  EXPECT_DOUBLE_EQ(RocAuc(same, kLabels).value(), 0.5);
  EXPECT_DOUBLE_EQ(AveragePrecision(same, kLabels).value(), 0.5);
  const ScoreComparison found = Compare(same, same, kLabels);
  EXPECT_EQ(found.auc_difference.low, 0);
  EXPECT_EQ(found.auc_difference.high, 0);
  EXPECT_EQ(found.flipped, 0);
}

TEST(ScoreComparison, PerfectAndReversedOrders) {
  const std::vector<float> scores = {1, 2, 3, 4}, labels = {0, 0, 1, 1}, reversed = {1, 1, 0, 0};
  EXPECT_EQ(RocAuc(scores, labels).value(), 1);
  EXPECT_EQ(AveragePrecision(scores, labels).value(), 1);
  EXPECT_EQ(RocAuc(scores, reversed).value(), 0);
}

TEST(ScoreComparison, CountsDecisionsThatFlipAndFindsTheWorstRows) {
  const ScoreComparison found =
      Compare(kBaseline, kCandidate, kLabels, {.threshold = 0.75, .worst_rows = 3});
  EXPECT_EQ(found.flipped, 1) << "row 6: 0.8 became 0.7";
  ASSERT_EQ(found.worst.size(), 3u);
  EXPECT_EQ(found.worst[0].row, 7);
  EXPECT_TRUE(found.worst[0].is_positive);
  EXPECT_FLOAT_EQ(found.worst[0].candidate, 0.6F);
  EXPECT_NEAR(found.mean_difference, 0.7 / 8, 1e-6);
}

TEST(ScoreComparison, RecallIsAtTheRateOfFalseAlarmsOfEach) {
  std::vector<float> scores, labels;
  for (int i = 0; i < 1000; ++i) {  // negatives 0 to 999
    scores.push_back(static_cast<float>(i));
    labels.push_back(0);
  }
  for (const float score : {2000.0F, 995.5F, 970.5F, 10.0F}) {
    scores.push_back(score);
    labels.push_back(1);
  }
  const ScoreComparison found = Compare(scores, scores, labels);
  EXPECT_DOUBLE_EQ(found.recalls[0].baseline, 0.25);  // 1 false alarm: from 999
  EXPECT_DOUBLE_EQ(found.recalls[1].baseline, 0.5);   // 10: from 990
  EXPECT_DOUBLE_EQ(found.recalls[2].baseline, 0.75);  // 50: from 950
  EXPECT_EQ(found.threshold, 990);
}

TEST(ScoreComparison, TheIntervalHoldsTheDifferenceAndIsTheSameEveryTime) {
  std::vector<float> baseline, candidate, labels;
  for (int i = 0; i < 500; ++i) {
    labels.push_back(i % 5 == 0 ? 1.0F : 0.0F);
    baseline.push_back(std::sin(static_cast<float>(i)) + labels.back());
    candidate.push_back(baseline.back() + 0.2F * std::cos(static_cast<float>(7 * i)));
  }
  const ScoreComparison once = Compare(baseline, candidate, labels);
  const ScoreComparison twice = Compare(baseline, candidate, labels);
  EXPECT_LT(once.auc_difference.low, -once.auc_drop());
  EXPECT_GT(once.auc_difference.high, -once.auc_drop());
  EXPECT_LT(once.auc_difference.high - once.auc_difference.low, 0.1);
  EXPECT_EQ(once.auc_difference.low, twice.auc_difference.low);
  EXPECT_EQ(once.pr_auc_difference.high, twice.pr_auc_difference.high);
}

TEST(ScoreComparison, CountsEveryScoreInABin) {
  std::vector<float> baseline = kBaseline;
  baseline[0] = std::numeric_limits<float>::infinity();
  const ScoreComparison found = Compare(baseline, kCandidate, kLabels);
  int64_t counted = 0;
  for (const int64_t count : found.baseline_bins) counted += count;
  EXPECT_EQ(counted, 7) << "an infinite score has no place";
  EXPECT_FLOAT_EQ(static_cast<float>(found.greatest), 0.9F);
}

TEST(ScoreComparison, RefusesWhatCannotBeCompared) {
  const auto error = [](const std::vector<float>& scores, const std::vector<float>& labels) {
    return CompareScores(kBaseline, scores, labels, {}).status().message();
  };
  EXPECT_THAT(error({0.5F}, kLabels), HasSubstr("the candidate: 1 scores, but 8 labels"));
  std::vector<float> nan = kCandidate;
  nan[3] = NAN;
  EXPECT_THAT(error(nan, kLabels), HasSubstr("the score of row 3 is NaN"));
  std::vector<float> labels = kLabels;
  labels[2] = 2;
  EXPECT_THAT(error(kCandidate, labels), HasSubstr("the label of row 2 is 2"));
  EXPECT_THAT(error(kCandidate, std::vector<float>(8, 1.0F)), HasSubstr("of one class"));
  EXPECT_THAT(RocAuc({}, {}).status().message(), HasSubstr("of one class"));
}

}  // namespace
}  // namespace verdict
