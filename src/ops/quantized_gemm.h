#pragma once

#include <cstdint>

namespace verdict {

/// Products of QuantizedGemm that an int32 surely holds: 255 * 127 of each.
inline constexpr int64_t kMaxQuantizedDepth = int64_t{1} << 16;
/// QuantizedGemm's zero point for int8 activations around 0, which it takes as uint8.
inline constexpr int64_t kSignedZeroPoint = 128;

}  // namespace verdict
