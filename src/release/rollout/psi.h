#pragma once

#include <cstdint>
#include <span>

namespace verdict {

/// The population stability index of two histograms: the sum over the bins of
/// (canary - champion) * log(canary / champion), of shares. The usual reading: below 0.1 no change,
/// above 0.25 a large one.
struct StabilityIndex {
  double raw = 0;   // as the formula has it
  double bias = 0;  // what finite samples of one distribution add: (bins - 1) * (1/n + 1/m)
  int bins = 0;     // after merging
  /// raw less bias, not below 0: what to compare with limits.
  double corrected() const { return raw > bias ? raw - bias : 0; }
};

/// Neighbouring bins are merged until each holds 5 % of the two sides' mean shares, and each bin
/// has half a count added: a rare bin would shout.
///
/// champion, canary: counts in the same bins.
/// Threads: pure. Cost: O(bins).
/// Source: Yurdakul 2018, "Statistical properties of the population stability index": the index of
/// equal populations is (1/n + 1/m) times a chi-square of bins - 1 degrees of freedom.
StabilityIndex PopulationStability(std::span<const uint64_t> champion,
                                   std::span<const uint64_t> canary);

/// True if there are enough samples for `limit` to mean something: bias and three standard
/// deviations of equal populations stay below it. 20 bins and a limit of 0.25 need about 150 a
/// side, of 0.1 about 370, twice that if both sides are equal in number.
bool StabilityMeansSomething(int bins, uint64_t champion, uint64_t canary, double limit);

}  // namespace verdict
