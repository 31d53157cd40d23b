#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/status.h"

namespace verdict {

// Scores and labels are of the same rows; labels are 0 or 1, and there are some of each. Errors of
// all: kInvalidArgument where that is not so, or a score is NaN, naming the row.

/// The area under the ROC curve: the share of pairs of a 1 and a 0 in which the 1 has the greater
/// score, equal scores counting half. Cost: O(n log n).
Result<double> RocAuc(std::span<const float> scores, std::span<const float> labels);

/// The area under the precision-recall curve as the sum of precision times the recall gained, over
/// all thresholds: scikit-learn's average_precision_score.
Result<double> AveragePrecision(std::span<const float> scores, std::span<const float> labels);

struct Interval {
  double low = 0, high = 0;
};

/// One row on which two models differ.
struct RowDifference {
  int64_t row = 0;
  float baseline = 0, candidate = 0;
  bool is_positive = false;
};

/// Of all rows with label 0, so many may score at the threshold or above it.
struct RecallAtFpr {
  double fpr = 0;
  double baseline = 0, candidate = 0;
};

/// A candidate's scores beside a baseline's, on the same rows.
struct ScoreComparison {
  int64_t rows = 0, positives = 0;
  double baseline_auc = 0, candidate_auc = 0;
  double baseline_pr_auc = 0, candidate_pr_auc = 0;
  /// candidate - baseline, of rows drawn again with replacement; 95 % of the draws.
  Interval auc_difference, pr_auc_difference;
  int resamples = 0;  // draws: 1,000, fewer for many rows
  /// The largest distance between the two distributions of scores.
  double kolmogorov_smirnov = 0;
  std::array<RecallAtFpr, 3> recalls;
  double threshold = 0;
  /// Rows whose score is at the threshold or above with one model only.
  int64_t flipped = 0;
  double mean_difference = 0;  // of the sizes
  std::vector<RowDifference> worst;
  /// For plots: up to 1,500 rows of each label at equal distances, and all finite scores counted in
  /// bins of equal width from `least` to `greatest`.
  std::vector<RowDifference> sample;
  static constexpr int kBins = 40;
  double least = 0, greatest = 0;
  std::array<int64_t, kBins> baseline_bins{}, candidate_bins{};

  double auc_drop() const { return baseline_auc - candidate_auc; }
};

struct ComparisonOptions {
  /// Where decisions change; without one, that of the baseline at an FPR of 1 %, or its greatest
  /// score where even that one is exceeded.
  std::optional<double> threshold;
  int worst_rows = 10;
  uint64_t seed = 1;
};

/// Cost: some seconds for 300,000 rows.
Result<ScoreComparison> CompareScores(std::span<const float> baseline,
                                      std::span<const float> candidate,
                                      std::span<const float> labels,
                                      const ComparisonOptions& options);

}  // namespace verdict
