#pragma once

#include <cstdint>
#include <limits>
#include <type_traits>

#include "ops/half.h"

namespace verdict {

/// The type behind ONNX's TensorProto.DataType number; kUndefined if we have none.
DataType DataTypeFromOnnx(int64_t number);

/// Float to integer, defined for every value: truncation towards zero, and for NaN and what does
/// not fit, what ONNX Runtime's static_cast compiles to on x86 (cvttss2si and its kin): the value
/// goes through int32 (for types up to 32 bits and signed) or int64, whose least value stands for
/// all that does not fit, and is then cut to the target's bits.
template <typename I>
I FloatToInt(double x) {
  constexpr double kTwo31 = 2147483648.0;
  constexpr double kTwo63 = 9223372036854775808.0;
  if constexpr (sizeof(I) < 4 || std::is_same_v<I, int32_t>) {
    const bool fits = x > -kTwo31 - 1 && x < kTwo31;
    return static_cast<I>(fits ? static_cast<int32_t>(x) : std::numeric_limits<int32_t>::min());
  } else {
    if constexpr (std::is_same_v<I, uint64_t>) {
      if (x >= kTwo63) return x < 2 * kTwo63 ? static_cast<uint64_t>(x) : 0;
    }
    const bool fits = x >= -kTwo63 && x < kTwo63;
    return static_cast<I>(fits ? static_cast<int64_t>(x) : std::numeric_limits<int64_t>::min());
  }
}

template <typename T>
inline constexpr bool kIsHalf = std::is_same_v<T, Float16> || std::is_same_v<T, BFloat16>;

/// One element from one number type to another: integers wrap, floats round to nearest even,
/// anything but 0 is true, and float to integer is FloatToInt.
template <typename To, typename From>
To CastElement(From x) {
  if constexpr (std::is_same_v<To, From>) {
    return x;
  } else if constexpr (kIsHalf<From>) {
    return CastElement<To>(x.ToFloat());
  } else if constexpr (kIsHalf<To>) {
    return To::Of(static_cast<float>(x));
  } else if constexpr (std::is_same_v<To, bool>) {
    return x != From{};
  } else if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    return FloatToInt<To>(static_cast<double>(x));
  } else {
    return static_cast<To>(x);
  }
}

}  // namespace verdict
