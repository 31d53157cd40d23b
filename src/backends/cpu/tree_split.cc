#include "backends/cpu/tree_split.h"

#include <cmath>
#include <limits>
#include <utility>

#include "ops/tree_ensemble.h"

namespace verdict::cpu {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// The greatest float32 that is not above `split`; `split` is a number.
float Floor(double split) {
  const auto rounded = static_cast<float>(split);
  const float floor = rounded > split ? std::nextafter(rounded, -kInfinity) : rounded;
  return floor + 0.0F;  // -0 is 0
}

}  // namespace

TreeTests TestsOf(uint8_t mode, double split, bool missing_true, int32_t on_true,
                  int32_t on_false) {
  const auto one = [](float key, bool nan_low, int32_t low, int32_t high) {
    return TreeTests{{{key, nan_low, low, high}, {}}, 1};
  };
  // Every number is at most infinity.
  const auto always = [&](int32_t number, int32_t nan) {
    return one(kInfinity, false, number, nan);
  };
  const int32_t on_nan = missing_true || mode == kTreeNeq ? on_true : on_false;
  if (std::isnan(split)) return always(mode == kTreeNeq ? on_true : on_false, on_nan);
  if (mode == kTreeNeq) std::swap(on_true, on_false);  // then as equality
  const bool nan_true = on_nan == on_true;
  const float floor = Floor(split);
  const bool nothing_below = floor == split && floor == -kInfinity;
  const float below = floor == split ? std::nextafter(floor, -kInfinity) : floor;
  switch (mode) {
    case kTreeLeq:
      return one(floor, nan_true, on_true, on_false);
    case kTreeGreater:
      return one(floor, !nan_true, on_false, on_true);
    case kTreeLess:
      if (nothing_below) return always(on_false, on_nan);
      return one(below, nan_true, on_true, on_false);
    case kTreeGeq:
      if (nothing_below) return always(on_true, on_nan);
      return one(below, !nan_true, on_false, on_true);
    default:
      if (nothing_below) return one(floor, nan_true, on_true, on_false);
      return {{{below, !nan_true, on_false, kNextTest}, {floor, nan_true, on_true, on_false}}, 2};
  }
}

}  // namespace verdict::cpu
