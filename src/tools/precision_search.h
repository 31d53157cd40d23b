#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"

namespace verdict {

/// Which layers of a model are to be quantized so that it passes the gate.
struct PrecisionChoice {
  /// By layer: whether it keeps float32.
  std::vector<bool> keep;
  /// By layer: what quantizing it alone costs; empty if all could be quantized.
  std::vector<double> costs;
  /// What the choice costs.
  double cost = 0;
  bool passes = false;
};

/// Quantizes all layers if that costs at most `limit`; else finds what each costs alone, and by
/// bisection the fewest, dearest first, that must keep float32. If quantizing any one of them costs
/// more, all are kept, and `passes` is false.
/// cost_of: by layer whether it keeps float32 -> the cost, for example the AUC that is lost.
/// Cost: about layers + log2(layers) calls. Errors: as cost_of.
Result<PrecisionChoice> SearchPrecision(
    size_t layers, double limit,
    const std::function<Result<double>(const std::vector<bool>& keep)>& cost_of);

}  // namespace verdict
