#pragma once

#include <cstdint>

namespace verdict {

/// c[i,j] += sum over p of a[i,p] * b[p,j]. a: element (i,p) at a[i * a_row + p * a_col]. b: [k,n]
/// and c: [m,n], rows contiguous, `b_row` and `c_row` apart; c overlaps neither. Each element is
/// summed in the order of p, one rounding a step, so that results do not depend on m or n.
template <typename T>
void AddProduct(const T* a, int64_t a_row, int64_t a_col, const T* b, int64_t b_row, T* c,
                int64_t c_row, int64_t m, int64_t k, int64_t n) {
  for (int64_t i = 0; i < m; ++i) {
    T* __restrict out = c + i * c_row;
    for (int64_t p = 0; p < k; ++p) {
      const T factor = a[i * a_row + p * a_col];
      const T* __restrict row = b + p * b_row;
      for (int64_t j = 0; j < n; ++j) out[j] += factor * row[j];
    }
  }
}

/// Sum of x[i] * y[i] in eight interleaved partial sums, always combined in the same order.
template <typename T>
T Dot(const T* x, const T* y, int64_t count) {
  constexpr int64_t kLanes = 8;
  T lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) lanes[lane] += x[i + lane] * y[i + lane];
  }
  for (int64_t lane = 0; i < count; ++i, ++lane) lanes[lane] += x[i] * y[i];
  const T even = (lanes[0] + lanes[4]) + (lanes[2] + lanes[6]);
  const T odd = (lanes[1] + lanes[5]) + (lanes[3] + lanes[7]);
  return even + odd;
}

/// c[i,j] += Dot(a's row i, b's row j): the product with b transposed. a: [m,k], b: [n,k], c:
/// [m,n], rows contiguous.
template <typename T>
void AddProductTransposed(const T* a, const T* b, T* c, int64_t m, int64_t k, int64_t n) {
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) c[i * n + j] += Dot(a + i * k, b + j * k, k);
  }
}

}  // namespace verdict
