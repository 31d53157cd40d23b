#pragma once

#include <cstddef>
#include <cstdint>

namespace verdict {

/// Sets *product = a * b; false if that overflows (then *product is unspecified).
template <typename T>
[[nodiscard]] inline bool CheckedMul(T a, T b, T* product) {
  return !__builtin_mul_overflow(a, b, product);
}

/// Sets *sum = a + b; false if that overflows (then *sum is unspecified).
template <typename T>
[[nodiscard]] inline bool CheckedAdd(T a, T b, T* sum) {
  return !__builtin_add_overflow(a, b, sum);
}

/// The smallest multiple of `alignment` (a power of two) that is >= `value`. `value` must leave
/// room.
constexpr size_t AlignUp(size_t value, size_t alignment) {
  return (value + alignment - 1) & ~(alignment - 1);
}

}  // namespace verdict
