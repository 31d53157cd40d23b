#include "tools/precision_search.h"

#include <algorithm>
#include <numeric>

namespace verdict {

Result<PrecisionChoice> SearchPrecision(
    size_t layers, double limit,
    const std::function<Result<double>(const std::vector<bool>& keep)>& cost_of) {
  PrecisionChoice choice{.keep = std::vector<bool>(layers, false)};
  VERDICT_ASSIGN_OR_RETURN(choice.cost, cost_of(choice.keep));
  choice.passes = choice.cost <= limit;
  if (choice.passes) return choice;
  for (size_t layer = 0; layer < layers; ++layer) {
    std::vector<bool> others(layers, true);
    others[layer] = false;
    VERDICT_ASSIGN_OR_RETURN(const double cost, cost_of(others));
    choice.costs.push_back(cost);
  }
  std::vector<size_t> order(layers);
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order,
                           [&](size_t a, size_t b) { return choice.costs[a] > choice.costs[b]; });
  // The number of layers to keep: `fails` is too few; `passes` is enough, or all.
  size_t fails = 0, passes = layers;
  const auto keeping = [&](size_t count) {
    std::vector<bool> keep(layers, false);
    for (size_t i = 0; i < count; ++i) keep[order[i]] = true;
    return keep;
  };
  choice.keep = keeping(layers);
  choice.cost = 0;
  while (passes - fails > 1) {
    const size_t count = fails + (passes - fails) / 2;
    const std::vector<bool> keep = keeping(count);
    VERDICT_ASSIGN_OR_RETURN(const double cost, cost_of(keep));
    if (cost <= limit) {
      passes = count;
      choice.keep = keep;
      choice.cost = cost;
    } else {
      fails = count;
    }
  }
  choice.passes = passes < layers;
  return choice;
}

}  // namespace verdict
