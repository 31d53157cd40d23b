#pragma once

#include <cstdint>

namespace verdict::cpu {

/// Rows of scores, `stride` floats apart, and what is added to them.
struct SoftmaxArgs {
  int64_t rows = 0, count = 0, stride = 0;
  float* scores = nullptr;
  float scale = 1;
  /// [rows, count], `mask_stride` floats from one row to the next, 0 for one that all share; null:
  /// none.
  const float* mask = nullptr;
  int64_t mask_stride = 0;
  /// How many scores of the first row count; one more in each next row, `count` at most. The rest
  /// becomes 0.
  int64_t seen_by_first = 0;
};

/// The numerators of softmax(scores * scale + mask) over each row, in place: e^(x - max x). Their
/// sum is the caller's to divide by, so that attention divides its few results and not its many
/// weights.
///
/// sums: [rows] gets the sum of what was written, at least 1; 0 where every x is -inf or none
/// counts, and then zeros were written. A NaN among x makes the sum NaN.
/// Threads: pure. A row's bits do not depend on the other rows. Relative error below 3e-7; below
/// e^-87 that of the largest it is 0.
void SoftmaxNumerators(const SoftmaxArgs& args, float* sums);

/// Multiplies each of `rows` rows of `count` floats, `stride` apart, by its factor.
void ScaleRows(float* values, int64_t rows, int64_t count, int64_t stride, const float* factors);

}  // namespace verdict::cpu
