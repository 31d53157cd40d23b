#pragma once

#include <cstddef>
#include <cstdint>

namespace verdict::cpu {

// Products of int8 matrices with float32 borders: rows of activations are quantized to uint8
// (round(x / scale) + zero_point; a zero point of 128 makes that int8 around 0), multiplied by int8
// weights with exact int32 sums, and scaled back. Sums are exact, so that a row's bits depend
// neither on its batch nor on the instruction set. k is at most kMaxQuantizedDepth.

/// Bytes of a row of quantized activations: k rounded up to whole groups of four.
constexpr int64_t Int8RowBytes(int64_t k) { return (k + 3) / 4 * 4; }
/// n rounded up to whole vectors of 16: how many scales, offsets and biases a kernel reads.
constexpr int64_t Int8PaddedColumns(int64_t n) { return (n + 15) / 16 * 16; }
/// Bytes of packed weights [k, n], the same on all machines: panels of up to 64 columns; in each
/// ceil(k / 4) groups of [columns, 4], as VNNI and AMX read them; missing rows and columns zero.
constexpr int64_t Int8PackedBytes(int64_t k, int64_t n) {
  return Int8RowBytes(k) * Int8PaddedColumns(n);
}

/// Packs b, whose element (p, j) is b[p * row_stride + j * column_stride].
/// offsets: [Int8PaddedColumns(n)], minus the zero point times the sum of each column.
void PackInt8(const int8_t* b, int64_t row_stride, int64_t column_stride, int64_t k, int64_t n,
              int32_t zero_point, int8_t* packed, int32_t* offsets);

/// Quantizes rows [m, k] to a [m, Int8RowBytes(k)].
/// scale: > 0 and finite; 0: each row's own, max |x| / 127 (1 where that is 0, NaN where x has
/// NaN). scales: [m], what each row has.
void QuantizeRows(const float* x, int64_t m, int64_t k, float scale, int32_t zero_point, uint8_t* a,
                  float* scales);

/// c = (a - zero_point) * b * scales + bias, with ReLU where asked for. Threads: any.
struct Int8GemmArgs {
  int64_t m = 0, k = 0, n = 0;
  const uint8_t* a = nullptr;        // [m, Int8RowBytes(k)], of QuantizeRows
  const float* a_scales = nullptr;   // [m]
  const int8_t* packed = nullptr;    // of PackInt8, 64-byte aligned
  const int32_t* offsets = nullptr;  // of PackInt8
  const float* b_scales = nullptr;   // [Int8PaddedColumns(n)]
  const float* bias = nullptr;       // [Int8PaddedColumns(n)]
  bool accumulate = false;           // add to c's old contents too
  bool relu = false;
  float* c = nullptr;  // [m, n], rows ldc floats apart
  int64_t ldc = 0;
};
void Int8Gemm(const Int8GemmArgs& args);

}  // namespace verdict::cpu
