#include "release/rollout/sequential_evidence.h"

#include <math.h>  // lgamma_r: std::lgamma writes a global

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>
#include <vector>

namespace verdict {
namespace {

struct Counts {
  double hits, misses;
};

Counts CountsOf(const Proportion& p) {
  const uint64_t events = std::min(p.events, p.trials);
  return {static_cast<double>(events), static_cast<double>(p.trials - events)};
}

double LogGamma(double x) {
  int sign = 0;
  return ::lgamma_r(x, &sign);
}

/// The log-likelihood of the counts, averaged over all rates with Jeffreys' prior Beta(1/2, 1/2).
double LogMixture(const Counts& c) {
  return LogGamma(c.hits + 0.5) + LogGamma(c.misses + 0.5) - LogGamma(c.hits + c.misses + 1) -
         std::log(std::numbers::pi);
}

double TimesLog(double count, double x) { return count == 0 ? 0 : count * std::log(x); }

double LogLikelihood(const Counts& c, double rate) {
  return TimesLog(c.hits, rate) + TimesLog(c.misses, 1 - rate);
}

double Rate(const Counts& c) {
  const double trials = c.hits + c.misses;
  return trials == 0 ? 0 : c.hits / trials;
}

/// The greatest log-likelihood where the second rate is the first plus `shift`; concave in the
/// rate, so the slope's sign leads to it.
double BestOnBoundary(const Counts& low, const Counts& high, double shift) {
  if (shift == 0) {
    const Counts both{low.hits + high.hits, low.misses + high.misses};
    return LogLikelihood(both, Rate(both));
  }
  const auto slope = [](const Counts& c, double rate) {
    return (c.hits == 0 ? 0 : c.hits / rate) - (c.misses == 0 ? 0 : c.misses / (1 - rate));
  };
  double left = 0;
  double right = 1 - shift;
  for (int i = 0; i < 60; ++i) {
    const double middle = (left + right) / 2;
    (slope(low, middle) + slope(high, middle + shift) > 0 ? left : right) = middle;
  }
  const double rate = (left + right) / 2;
  return LogLikelihood(low, rate) + LogLikelihood(high, rate + shift);
}

uint64_t Sum(std::span<const uint64_t> counts) {
  return std::accumulate(counts.begin(), counts.end(), uint64_t{0});
}

/// The log of the sum of exp(logs) over `count`; 0 where there are none.
double LogMean(std::span<const double> logs, size_t count) {
  if (logs.empty()) return 0;
  const double greatest = *std::max_element(logs.begin(), logs.end());
  double sum = 0;
  for (const double log : logs) sum += std::exp(log - greatest);
  return greatest + std::log(sum / static_cast<double>(count));
}

}  // namespace

double LogEvidence(const Proportion& champion, const Proportion& canary, double tolerance,
                   Worse worse) {
  if (champion.trials == 0 || canary.trials == 0) return 0;
  const Counts a = CountsOf(champion);
  const Counts b = CountsOf(canary);
  const double difference = Rate(b) - Rate(a);
  double best = 0;
  if (difference > tolerance) {
    best = BestOnBoundary(a, b, tolerance);
  } else if (worse == Worse::kEither && -difference > tolerance) {
    best = BestOnBoundary(b, a, tolerance);
  } else {
    best = LogLikelihood(a, Rate(a)) + LogLikelihood(b, Rate(b));
  }
  return LogMixture(a) + LogMixture(b) - best;
}

LatencyEvidence SlowerEvidence(std::span<const uint64_t> champion, std::span<const uint64_t> canary,
                               double quantile, int factor_bins, double tolerance) {
  const size_t factor = static_cast<size_t>(factor_bins);
  Proportion slow_champion{.events = 0, .trials = Sum(champion)};
  Proportion slow_canary{.events = 0, .trials = Sum(canary)};
  const double most = (1 - quantile) * static_cast<double>(slow_champion.trials);
  LatencyEvidence found;
  std::vector<double> logs;
  for (size_t edge = champion.size() - 1; edge > 0; --edge) {
    slow_champion.events += champion[edge];
    if (static_cast<double>(slow_champion.events) > most) break;
    if (edge + factor >= canary.size()) continue;
    slow_canary.events = Sum(canary.subspan(edge + factor));
    const double log = LogEvidence(slow_champion, slow_canary, tolerance, Worse::kHigher);
    if (logs.empty() || log > *std::max_element(logs.begin(), logs.end())) {
      found = {0, static_cast<int>(edge), slow_champion, slow_canary};
    }
    logs.push_back(log);
  }
  found.log_evidence = LogMean(logs, champion.size() - 1);
  return found;
}

double DistributionEvidence(std::span<const uint64_t> champion, std::span<const uint64_t> canary) {
  Proportion a{0, Sum(champion)};
  Proportion b{0, Sum(canary)};
  std::vector<double> logs;
  for (size_t edge = 1; edge < champion.size(); ++edge) {
    a.events += champion[edge - 1];
    b.events += canary[edge - 1];
    logs.push_back(LogEvidence(a, b, 0, Worse::kEither));
  }
  return LogMean(logs, logs.size());
}

}  // namespace verdict
