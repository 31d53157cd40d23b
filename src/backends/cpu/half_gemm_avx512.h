#pragma once

#include <immintrin.h>

#include "backends/cpu/half_gemm.h"

// What the files for BF16 and AMX share. Static, for the reason that int8_gemm_kernels.h gives.
namespace verdict::cpu {

constexpr int64_t kLanes = 16;
constexpr int64_t kPanelColumns = 64;

/// Writes the sums of one row's vector of columns.
static inline void StoreSums(const HalfGemmArgs& args, __m512 sums, int64_t row, int64_t column) {
  float* c = args.c + row * args.ldc + column;
  const int64_t count = args.n - column;
  const auto lanes = static_cast<__mmask16>(count >= kLanes ? 0xFFFF : (1U << count) - 1);
  if (args.bias != nullptr) sums = _mm512_add_ps(sums, _mm512_loadu_ps(args.bias + column));
  if (args.accumulate) sums = _mm512_add_ps(sums, _mm512_maskz_loadu_ps(lanes, c));
  // Not a maximum: NaN stays NaN.
  if (args.relu) {
    sums = _mm512_mask_mov_ps(sums, _mm512_cmp_ps_mask(sums, _mm512_setzero_ps(), _CMP_LT_OQ),
                              _mm512_setzero_ps());
  }
  _mm512_mask_storeu_ps(c, lanes, sums);
}

}  // namespace verdict::cpu
