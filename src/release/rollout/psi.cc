#include "release/rollout/psi.h"

#include <cmath>
#include <numeric>
#include <utility>
#include <vector>

namespace verdict {
namespace {

constexpr double kLeastShare = 0.05;
constexpr double kSmoothing = 0.5;

double Sum(std::span<const uint64_t> counts) {
  return static_cast<double>(std::accumulate(counts.begin(), counts.end(), uint64_t{0}));
}

}  // namespace

StabilityIndex PopulationStability(std::span<const uint64_t> champion,
                                   std::span<const uint64_t> canary) {
  const double m = Sum(champion);
  const double n = Sum(canary);
  if (m == 0 || n == 0) return {};
  std::vector<std::pair<double, double>> merged;
  std::pair<double, double> open{0, 0};
  for (size_t i = 0; i < champion.size(); ++i) {
    open.first += static_cast<double>(champion[i]);
    open.second += static_cast<double>(canary[i]);
    if ((open.first / m + open.second / n) / 2 < kLeastShare) continue;
    merged.push_back(open);
    open = {0, 0};
  }
  // What is left over at the end is less than a bin.
  if (!merged.empty()) {
    merged.back().first += open.first;
    merged.back().second += open.second;
  }
  StabilityIndex index{.bins = static_cast<int>(merged.size())};
  const double bins = static_cast<double>(merged.size());
  for (const auto& [of_champion, of_canary] : merged) {
    const double p = (of_champion + kSmoothing) / (m + kSmoothing * bins);
    const double q = (of_canary + kSmoothing) / (n + kSmoothing * bins);
    index.raw += (q - p) * std::log(q / p);
  }
  index.bias = (bins - 1) * (1 / n + 1 / m);
  return index;
}

bool StabilityMeansSomething(int bins, uint64_t champion, uint64_t canary, double limit) {
  if (champion == 0 || canary == 0 || bins < 1) return false;
  const double freedom = bins - 1;
  const double scale = 1 / static_cast<double>(champion) + 1 / static_cast<double>(canary);
  return scale * (freedom + 3 * std::sqrt(2 * freedom)) < limit;
}

}  // namespace verdict
