#pragma once

#include <cstdint>

namespace verdict::cpu {

/// Rows of `size` floats, each as (x - mean) / sqrt(variance + epsilon) * scale + bias. Within 1e-6
/// of sums in double, relative to the largest result; rows whose squares are no floats are computed
/// in double. A row's bits do not depend on its batch.
struct NormalizeRowsArgs {
  int64_t rows = 0, size = 0;
  const float* x = nullptr;
  const float* scale = nullptr;  // [size]
  const float* bias = nullptr;   // [size], or null
  float* y = nullptr;
  double epsilon = 0;
};
void NormalizeRows(const NormalizeRowsArgs& args);

}  // namespace verdict::cpu
