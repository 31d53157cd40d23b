#pragma once

#include <cstdint>

namespace verdict::cpu {

// Products of matrices whose elements are bfloat16 or float16, in memory and as factors, with
// float32 sums. Rows of activations are rounded first, to nearest, ties to even; NaN stays NaN. A
// row's bits do not depend on its batch. They do depend on the instruction set: BF16's and AMX's
// own instructions sum in another order, and take what is smaller than the least normal float32 to
// be zero.

enum class HalfType { kBFloat16, kFloat16 };

/// Values of a row of activations: k rounded up to whole pairs, the missing one zero.
constexpr int64_t HalfRowValues(int64_t k) { return (k + 1) / 2 * 2; }
/// n rounded up to whole vectors of 16: how many biases a kernel reads.
constexpr int64_t HalfPaddedColumns(int64_t n) { return (n + 15) / 16 * 16; }
/// Values of packed weights [k, n], the same on all machines: panels of up to 64 columns; in each
/// ceil(k / 2) groups of [columns, 2], as BF16 and AMX read them; missing rows and columns zero.
constexpr int64_t HalfPackedValues(int64_t k, int64_t n) {
  return HalfRowValues(k) * HalfPaddedColumns(n);
}

/// Packs b, whose element (p, j) is b[p * row_stride + j * column_stride].
void PackHalf(const uint16_t* b, int64_t row_stride, int64_t column_stride, int64_t k, int64_t n,
              uint16_t* packed);

/// Rounds rows [m, k] to a [m, HalfRowValues(k)]: the same on all machines, but for a NaN's bits.
/// What is too large becomes infinite.
void RoundRows(HalfType type, const float* x, int64_t m, int64_t k, uint16_t* a);

/// c = a * b + bias, with ReLU where asked for. Threads: any.
struct HalfGemmArgs {
  HalfType type = HalfType::kBFloat16;
  int64_t m = 0, k = 0, n = 0;
  const uint16_t* a = nullptr;       // [m, HalfRowValues(k)], of RoundRows
  const uint16_t* packed = nullptr;  // of PackHalf, 64-byte aligned
  const float* bias = nullptr;       // [HalfPaddedColumns(n)], or nothing
  bool accumulate = false;           // add to c's old contents too
  bool relu = false;
  float* c = nullptr;  // [m, n], rows ldc floats apart
  int64_t ldc = 0;
};
void HalfGemm(const HalfGemmArgs& args);

}  // namespace verdict::cpu
