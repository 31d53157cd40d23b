#pragma once

#include <cstdint>
#include <span>

namespace verdict {

/// Counts of |x| in bins of equal width over [0, amax], as TensorRT's calibrators take.
struct AbsHistogram {
  static constexpr int kBins = 2048;

  /// Adds values to counts [kBins]. largest: of all |x|, > 0 and finite.
  static void Add(std::span<const float> values, float largest, std::span<uint64_t> counts);
};

}  // namespace verdict
