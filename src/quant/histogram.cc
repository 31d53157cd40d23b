#include "quant/histogram.h"

#include <cmath>

namespace verdict {

void AbsHistogram::Add(std::span<const float> values, float largest, std::span<uint64_t> counts) {
  const double per_unit = kBins / static_cast<double>(largest);
  for (const float value : values) {
    const double bin = static_cast<double>(std::fabs(value)) * per_unit;
    // Also what is no number: samples may have changed since the largest was found.
    ++counts[bin < kBins - 1 ? static_cast<size_t>(bin) : kBins - 1];
  }
}

}  // namespace verdict
