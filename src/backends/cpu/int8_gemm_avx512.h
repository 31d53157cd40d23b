#pragma once

#include <immintrin.h>

#include "backends/cpu/int8_gemm.h"

// What the files for VNNI and AMX share. Static, for the reason that int8_gemm_kernels.h gives.
namespace verdict::cpu {

constexpr int64_t kLanes = 16;
constexpr int64_t kPanelColumns = 64;

static inline __mmask16 FirstLanes(int64_t count) {
  return static_cast<__mmask16>(count >= kLanes ? 0xFFFF : (1U << count) - 1);
}

/// What a vector of columns has: how its sums become floats, and which of them there are.
struct ColumnScales {
  __m512 b_scales, bias;
  __mmask16 lanes;
};

static inline ColumnScales LoadScales(const Int8GemmArgs& args, int64_t column) {
  return {_mm512_loadu_ps(args.b_scales + column), _mm512_loadu_ps(args.bias + column),
          FirstLanes(args.n - column)};
}

/// Writes the sums of one row, offsets included.
static inline void StoreSums(const Int8GemmArgs& args, const ColumnScales& columns, __m512i sums,
                             int64_t row, int64_t column) {
  float* c = args.c + row * args.ldc + column;
  const __m512 scales = _mm512_mul_ps(columns.b_scales, _mm512_set1_ps(args.a_scales[row]));
  __m512 y = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums), scales, columns.bias);
  if (args.accumulate) y = _mm512_add_ps(y, _mm512_maskz_loadu_ps(columns.lanes, c));
  // Not a maximum: NaN stays NaN.
  if (args.relu) {
    y = _mm512_mask_mov_ps(y, _mm512_cmp_ps_mask(y, _mm512_setzero_ps(), _CMP_LT_OQ),
                           _mm512_setzero_ps());
  }
  _mm512_mask_storeu_ps(c, columns.lanes, y);
}

}  // namespace verdict::cpu
