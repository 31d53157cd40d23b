#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "ir/types.h"

namespace verdict {

/// IEEE 754 binary16, for conversion only.
struct Float16 {
  uint16_t bits;

  /// Nearest value, ties to even; overflow is infinity.
  static Float16 Of(float value) {
    uint32_t x = std::bit_cast<uint32_t>(value);
    const uint32_t sign = (x >> 16) & 0x8000U;
    x &= 0x7fffffffU;
    uint32_t half = 0;
    if (x > 0x7f800000U) {
      half = 0x7e00U;  // NaN
    } else if (x >= 0x477ff000U) {
      half = 0x7c00U;  // rounds to at least 2^16
    } else if (x < 0x38800000U) {
      // Below 2^-14: adding 0.5, whose last bit is worth 2^-24, makes the hardware round for us.
      half = std::bit_cast<uint32_t>(std::bit_cast<float>(x) + 0.5F) - 0x3f000000U;
    } else {
      half = (x - 0x38000000U + 0xfffU + ((x >> 13) & 1U)) >> 13;
    }
    return {static_cast<uint16_t>(sign | half)};
  }

  float ToFloat() const {
    const uint32_t sign = static_cast<uint32_t>(bits & 0x8000U) << 16;
    const uint32_t exponent = (bits >> 10) & 0x1fU;
    const uint32_t mantissa = bits & 0x3ffU;
    if (exponent == 0) {
      const float magnitude = std::ldexp(static_cast<float>(mantissa), -24);
      return sign != 0 ? -magnitude : magnitude;
    }
    const uint32_t wide = exponent == 31 ? 0xffU : exponent + 112;
    return std::bit_cast<float>(sign | wide << 23 | mantissa << 13);
  }
};

/// bfloat16: the upper half of a float32, for conversion only.
struct BFloat16 {
  uint16_t bits;

  /// Nearest value, ties to even.
  static BFloat16 Of(float value) {
    const uint32_t x = std::bit_cast<uint32_t>(value);
    if (value != value) return {static_cast<uint16_t>((x >> 16) | 0x40U)};
    return {static_cast<uint16_t>((x + 0x7fffU + ((x >> 16) & 1U)) >> 16)};
  }

  float ToFloat() const { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }
};

template <>
inline constexpr DataType kDataTypeOf<Float16> = DataType::kFloat16;
template <>
inline constexpr DataType kDataTypeOf<BFloat16> = DataType::kBFloat16;

constexpr bool IsHalf(DataType dtype) {
  return dtype == DataType::kFloat16 || dtype == DataType::kBFloat16;
}

}  // namespace verdict
