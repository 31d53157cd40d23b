#pragma once

#include <cstdint>

namespace verdict::cpu {

/// The numerators of softmax(scores * scale + mask), in place: e^(x - max x). Their sum is the
/// caller's to divide by, so that attention divides its few results instead of its many weights.
///
/// scores: [count]. mask: [count], or null for none.
/// Returns: the sum of what was written, at least 1; 0 where every x is -inf (or count is 0), and
/// then nothing but zeros was written. A NaN among x makes NaNs and a sum of NaN.
/// Threads: pure. The same bits on one instruction set; on all within 1e-6 of the exact values.
float SoftmaxNumerators(float* scores, int64_t count, float scale, const float* mask);

/// values[i] *= factor.
void Scale(float* values, int64_t count, float factor);

}  // namespace verdict::cpu
