#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

namespace verdict {

/// QuantizeLinear of one value: round(x / scale) + zero_point, ties to even, saturated; NaN becomes
/// the least value. Q: int8_t or uint8_t.
template <typename Q>
Q Quantize(float x, float scale, Q zero_point) {
  constexpr auto kMin = static_cast<float>(std::numeric_limits<Q>::min());
  constexpr auto kMax = static_cast<float>(std::numeric_limits<Q>::max());
  const float value = std::nearbyint(x / scale) + static_cast<float>(zero_point);
  if (!(value > kMin)) return std::numeric_limits<Q>::min();
  return static_cast<Q>(std::min(value, kMax));
}

}  // namespace verdict
