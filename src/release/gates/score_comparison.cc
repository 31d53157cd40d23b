#include "release/gates/score_comparison.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <string>

namespace verdict {
namespace {

constexpr int kMaxResamples = 1000;
constexpr int kMinResamples = 100;
constexpr double kMaxDraws = 1e8;       // of rows, in all resamples: some seconds
constexpr int64_t kSampledRows = 1500;  // of each label
constexpr std::array kFprs = {0.001, 0.01, 0.05};
constexpr double kThresholdFpr = 0.01;

Status Check(std::span<const float> scores, std::span<const float> labels) {
  if (scores.size() != labels.size()) {
    return InvalidArgument(std::to_string(scores.size()) + " scores, but " +
                           std::to_string(labels.size()) + " labels");
  }
  size_t positives = 0;
  for (size_t row = 0; row < scores.size(); ++row) {
    if (std::isnan(scores[row])) {
      return InvalidArgument("the score of row " + std::to_string(row) +
                             " is NaN, which no ROC-AUC can order; leave out the rows that the "
                             "model has no score for");
    }
    if (labels[row] != 0 && labels[row] != 1) {
      return InvalidArgument("the label of row " + std::to_string(row) + " is " +
                             std::to_string(labels[row]) + ", not 0 or 1");
    }
    positives += labels[row] == 1 ? 1 : 0;
  }
  if (positives == 0 || positives == scores.size()) {
    return InvalidArgument("all " + std::to_string(scores.size()) +
                           " labels are of one class: there is nothing to tell apart");
  }
  return OkStatus();
}

/// Rows by falling score.
struct Ranked {
  std::vector<uint32_t> rows;
  std::vector<bool> last_of_ties;  // by place: the next one has another score

  explicit Ranked(std::span<const float> scores)
      : rows(scores.size()), last_of_ties(scores.size()) {
    std::iota(rows.begin(), rows.end(), 0U);
    std::ranges::stable_sort(rows, [&](uint32_t a, uint32_t b) { return scores[a] > scores[b]; });
    for (size_t place = 0; place < rows.size(); ++place) {
      last_of_ties[place] =
          place + 1 == rows.size() || scores[rows[place]] != scores[rows[place + 1]];
    }
  }
};

struct Areas {
  double roc = 0, pr = 0;
};

/// count(row): how often the row counts. There are some of each label.
template <typename Count>
Areas AreasOf(const Ranked& ranked, std::span<const float> labels, Count count) {
  double positives = 0, negatives = 0;  // so far
  double ties_positive = 0, ties_negative = 0;
  double pairs = 0, precision = 0;
  for (size_t place = 0; place < ranked.rows.size(); ++place) {
    const uint32_t row = ranked.rows[place];
    const double weight = count(row);
    (labels[row] == 1 ? ties_positive : ties_negative) += weight;
    if (!ranked.last_of_ties[place]) continue;
    pairs += ties_negative * (positives + ties_positive / 2);
    positives += ties_positive;
    negatives += ties_negative;
    if (positives + negatives > 0) {
      precision += ties_positive * positives / (positives + negatives);
    }
    ties_positive = ties_negative = 0;
  }
  return {pairs / (positives * negatives), precision / positives};
}

Areas AreasOf(std::span<const float> scores, std::span<const float> labels) {
  return AreasOf(Ranked(scores), labels, [](uint32_t) { return 1.0; });
}

/// The middle 95 %.
Interval MiddleOf(std::vector<double>& values) {
  std::ranges::sort(values);
  const auto at = [&](double share) {
    return values[static_cast<size_t>(share * static_cast<double>(values.size() - 1))];
  };
  return {at(0.025), at(0.975)};
}

void Resample(std::span<const float> baseline, std::span<const float> candidate,
              std::span<const float> labels, uint64_t seed, ScoreComparison& found) {
  const Ranked first(baseline), second(candidate);
  std::mt19937_64 random(seed);
  const size_t rows = labels.size();
  const int resamples = std::clamp(static_cast<int>(kMaxDraws / static_cast<double>(rows)),
                                   kMinResamples, kMaxResamples);
  std::vector<uint32_t> counts(rows);
  std::vector<double> roc, pr;
  while (std::ssize(roc) < resamples) {
    std::ranges::fill(counts, 0U);
    size_t positives = 0;
    for (size_t draw = 0; draw < rows; ++draw) {
      // The same on every machine, as std::uniform_int_distribution is not.
      const auto row = static_cast<size_t>(
          static_cast<unsigned __int128>(random()) * static_cast<unsigned __int128>(rows) >> 64);
      ++counts[row];
      positives += labels[row] == 1 ? 1 : 0;
    }
    if (positives == 0 || positives == rows) continue;
    const auto count = [&](uint32_t row) { return static_cast<double>(counts[row]); };
    const Areas one = AreasOf(first, labels, count), other = AreasOf(second, labels, count);
    roc.push_back(other.roc - one.roc);
    pr.push_back(other.pr - one.pr);
  }
  found.resamples = resamples;
  found.auc_difference = MiddleOf(roc);
  found.pr_auc_difference = MiddleOf(pr);
}

std::vector<float> Sorted(std::span<const float> values) {
  std::vector<float> sorted(values.begin(), values.end());
  std::ranges::sort(sorted);
  return sorted;
}

double KolmogorovSmirnov(std::span<const float> a, std::span<const float> b) {
  const std::vector<float> left = Sorted(a), right = Sorted(b);
  double most = 0;
  size_t i = 0, j = 0;
  while (i < left.size() && j < right.size()) {
    const float value = std::min(left[i], right[j]);
    while (i < left.size() && left[i] == value) ++i;
    while (j < right.size() && right[j] == value) ++j;
    most = std::max(most, std::fabs(static_cast<double>(i) / static_cast<double>(left.size()) -
                                    static_cast<double>(j) / static_cast<double>(right.size())));
  }
  return most;
}

/// The least threshold at which no more than that share of the rows with label 0 is at or above;
/// infinite where the greatest scores tie more of them.
double ThresholdAt(double fpr, std::span<const float> scores, std::span<const float> labels) {
  const Ranked ranked(scores);
  const auto negatives = static_cast<double>(std::ranges::count(labels, 0.0F));
  double seen = 0;
  double threshold = std::numeric_limits<double>::infinity();
  for (size_t place = 0; place < ranked.rows.size(); ++place) {
    const uint32_t row = ranked.rows[place];
    seen += labels[row] == 0 ? 1 : 0;
    if (seen > fpr * negatives) break;
    if (ranked.last_of_ties[place]) threshold = static_cast<double>(scores[row]);
  }
  return threshold;
}

void CountBins(std::span<const float> baseline, std::span<const float> candidate,
               ScoreComparison& found) {
  found.least = std::numeric_limits<double>::infinity();
  found.greatest = -found.least;
  for (std::span<const float> scores : {baseline, candidate}) {
    for (const float score : scores) {
      if (!std::isfinite(score)) continue;
      found.least = std::min(found.least, static_cast<double>(score));
      found.greatest = std::max(found.greatest, static_cast<double>(score));
    }
  }
  const double width = found.greatest - found.least;
  const auto count = [&](std::span<const float> scores, auto& bins) {
    for (const float score : scores) {
      if (!std::isfinite(score)) continue;
      const double place = width > 0 ? (static_cast<double>(score) - found.least) / width : 0;
      ++bins[static_cast<size_t>(
          std::min<double>(place * ScoreComparison::kBins, ScoreComparison::kBins - 1))];
    }
  };
  count(baseline, found.baseline_bins);
  count(candidate, found.candidate_bins);
}

double RecallAt(double threshold, std::span<const float> scores, std::span<const float> labels) {
  double found = 0, all = 0;
  for (size_t row = 0; row < scores.size(); ++row) {
    if (labels[row] != 1) continue;
    ++all;
    found += static_cast<double>(scores[row]) >= threshold ? 1 : 0;
  }
  return found / all;
}

}  // namespace

Result<double> RocAuc(std::span<const float> scores, std::span<const float> labels) {
  VERDICT_RETURN_IF_ERROR(Check(scores, labels));
  return AreasOf(scores, labels).roc;
}

Result<double> AveragePrecision(std::span<const float> scores, std::span<const float> labels) {
  VERDICT_RETURN_IF_ERROR(Check(scores, labels));
  return AreasOf(scores, labels).pr;
}

Result<ScoreComparison> CompareScores(std::span<const float> baseline,
                                      std::span<const float> candidate,
                                      std::span<const float> labels,
                                      const ComparisonOptions& options) {
  if (const Status status = Check(baseline, labels); !status.ok()) {
    return status.WithContext("the baseline");
  }
  if (const Status status = Check(candidate, labels); !status.ok()) {
    return status.WithContext("the candidate");
  }
  ScoreComparison found;
  found.rows = std::ssize(labels);
  found.positives = std::ranges::count(labels, 1.0F);
  const Areas before = AreasOf(baseline, labels), after = AreasOf(candidate, labels);
  found.baseline_auc = before.roc;
  found.candidate_auc = after.roc;
  found.baseline_pr_auc = before.pr;
  found.candidate_pr_auc = after.pr;
  Resample(baseline, candidate, labels, options.seed, found);
  found.kolmogorov_smirnov = KolmogorovSmirnov(baseline, candidate);
  for (size_t i = 0; i < kFprs.size(); ++i) {
    // Each at its own threshold: recall at a rate of false alarms that is given.
    found.recalls[i] = {kFprs[i],
                        RecallAt(ThresholdAt(kFprs[i], baseline, labels), baseline, labels),
                        RecallAt(ThresholdAt(kFprs[i], candidate, labels), candidate, labels)};
  }
  found.threshold =
      options.threshold.value_or(std::min(ThresholdAt(kThresholdFpr, baseline, labels),
                                          static_cast<double>(std::ranges::max(baseline))));
  CountBins(baseline, candidate, found);
  std::vector<RowDifference> rows;
  for (size_t row = 0; row < labels.size(); ++row) {
    const auto one = static_cast<double>(baseline[row]);
    const auto other = static_cast<double>(candidate[row]);
    found.flipped += (one >= found.threshold) != (other >= found.threshold) ? 1 : 0;
    // Equal infinities differ by nothing.
    found.mean_difference +=
        one == other ? 0 : std::fabs(one - other) / static_cast<double>(labels.size());
    rows.push_back({static_cast<int64_t>(row), baseline[row], candidate[row], labels[row] == 1});
  }
  for (const bool positive : {false, true}) {
    const int64_t of_label = positive ? found.positives : found.rows - found.positives;
    const int64_t step = (of_label + kSampledRows - 1) / kSampledRows;
    int64_t seen = 0;
    for (const RowDifference& row : rows) {
      if (row.is_positive == positive && seen++ % step == 0) found.sample.push_back(row);
    }
  }
  const auto size = [](const RowDifference& row) {
    return row.baseline == row.candidate ? 0.0F : std::fabs(row.baseline - row.candidate);
  };
  const auto worst = std::min(static_cast<size_t>(std::max(options.worst_rows, 0)), rows.size());
  std::ranges::partial_sort(rows, rows.begin() + static_cast<std::ptrdiff_t>(worst),
                            [&](const RowDifference& a, const RowDifference& b) {
                              return size(a) != size(b) ? size(a) > size(b) : a.row < b.row;
                            });
  rows.resize(worst);
  found.worst = std::move(rows);
  return found;
}

}  // namespace verdict
