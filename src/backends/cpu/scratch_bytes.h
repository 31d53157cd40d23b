#pragma once

#include <cstddef>
#include <cstdint>

#include "base/checked_math.h"

namespace verdict::cpu {

/// Bytes of so many rows; what no machine has where that overflows.
inline size_t ScratchBytesOf(int64_t rows, size_t bytes_of_row) {
  size_t bytes = 0;
  return CheckedMul(static_cast<size_t>(rows), bytes_of_row, &bytes) ? bytes : SIZE_MAX / 2;
}

}  // namespace verdict::cpu
