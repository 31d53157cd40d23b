// Compiled for AVX-512 with BW, VL and VNNI.
#include "backends/cpu/int8_gemm_avx512.h"
#include "backends/cpu/int8_gemm_kernels.h"

namespace verdict::cpu {
namespace {

constexpr int kMaxRows = 4;  // with 6, of 24 sums, it takes as long
constexpr int64_t kPrefetchBytes = 2048;

/// round(x / scale) + zero_point, within 0..255; NaN becomes 0, as QuantizeLinear has it. A product
/// with the reciprocal differs from the quotient by less than 1e-4 here: only where that might
/// change the rounding is there a division.
__m128i Quantize(__m512 x, __m512 scale, __m512 reciprocal, int32_t zero_point) {
  const __m512 low = _mm512_set1_ps(static_cast<float>(-zero_point));
  const __m512 high = _mm512_set1_ps(static_cast<float>(255 - zero_point));
  // The second operand is the result where x is NaN.
  __m512 value = _mm512_min_ps(_mm512_max_ps(_mm512_mul_ps(x, reciprocal), low), high);
  const __m512 rest = _mm512_sub_ps(
      value, _mm512_roundscale_ps(value, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  if (_mm512_cmp_ps_mask(_mm512_abs_ps(rest), _mm512_set1_ps(0.4999F), _CMP_GT_OQ) != 0) {
    value = _mm512_min_ps(_mm512_max_ps(_mm512_div_ps(x, scale), low), high);
  }
  const __m512i q = _mm512_add_epi32(_mm512_cvtps_epi32(value), _mm512_set1_epi32(zero_point));
  return _mm512_cvtepi32_epi8(q);
}

void QuantizeRow(const float* x, int64_t k, float scale, int32_t zero_point, uint8_t* a) {
  const __m512 scales = _mm512_set1_ps(scale);
  const __m512 reciprocal = _mm512_set1_ps(1.0F / scale);
  int64_t p = 0;
  for (; p + kLanes <= k; p += kLanes) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(a + p),
                     Quantize(_mm512_loadu_ps(x + p), scales, reciprocal, zero_point));
  }
  if (p < k) {
    const __m512 last = _mm512_maskz_loadu_ps(FirstLanes(k - p), x + p);  // zeros pad the group
    _mm_mask_storeu_epi8(a + p, FirstLanes(Int8RowBytes(k) - p),
                         Quantize(last, scales, reciprocal, zero_point));
  }
}

float Largest(const float* x, int64_t k) {
  __m512 most = _mm512_setzero_ps();
  __mmask16 nan = 0;
  for (int64_t p = 0; p < k; p += kLanes) {
    const __m512 v = _mm512_maskz_loadu_ps(FirstLanes(k - p), x + p);
    nan |= _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
    most = _mm512_max_ps(most, _mm512_abs_ps(v));
  }
  return nan != 0 ? __builtin_nanf("") : _mm512_reduce_max_ps(most);
}

/// sums += the four products of each lane. In assembly because GCC 12 copies the intrinsic's sums
/// from register to register around a loop, and then has too few: a third of the time.
inline __m512i AddDots(__m512i sums, __m512i a, __m512i weights) {
  asm inline("vpdpbusd %2, %1, %0" : "+v"(sums) : "v"(a), "v"(weights));
  return sums;
}

/// kRows rows of a panel that is kVectors vectors wide.
template <int kRows, int kVectors>
void Tile(const Int8GemmArgs& args, int64_t row, const int8_t* panel, int64_t first) {
  const int64_t row_bytes = Int8RowBytes(args.k);
  const uint8_t* a = args.a + row * row_bytes;
  __m512i sums[kRows][kVectors];
  for (int v = 0; v < kVectors; ++v) {
    const __m512i offsets = _mm512_loadu_si512(args.offsets + first + v * kLanes);
    for (int r = 0; r < kRows; ++r) sums[r][v] = offsets;
  }
  for (int64_t p = 0; p < row_bytes; p += 4) {
    __m512i weights[kVectors];
    for (int v = 0; v < kVectors; ++v) weights[v] = _mm512_loadu_si512(panel + v * 64);
    if constexpr (kRows == 1) {
      for (int v = 0; v < kVectors; ++v) {
        _mm_prefetch(reinterpret_cast<const char*>(panel) + kPrefetchBytes + v * 64, _MM_HINT_T0);
      }
    }
    panel += kVectors * 64;
    for (int r = 0; r < kRows; ++r) {
      int32_t four = 0;
      __builtin_memcpy(&four, a + r * row_bytes + p, 4);
      const __m512i factor = _mm512_set1_epi32(four);
      for (int v = 0; v < kVectors; ++v) {
        sums[r][v] = AddDots(sums[r][v], factor, weights[v]);
      }
    }
  }
  // Unrolled, so that sums stay in registers.
  if (!args.accumulate && !args.relu && args.n - first >= kVectors * kLanes) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      const int64_t column = first + v * kLanes;
      const __m512 b_scales = _mm512_loadu_ps(args.b_scales + column);
      const __m512 bias = _mm512_loadu_ps(args.bias + column);
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) {
        const __m512 scales = _mm512_mul_ps(b_scales, _mm512_set1_ps(args.a_scales[row + r]));
        _mm512_storeu_ps(args.c + (row + r) * args.ldc + column,
                         _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[r][v]), scales, bias));
      }
    }
    return;
  }
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) {
    const int64_t column = first + v * kLanes;
    const ColumnScales columns = LoadScales(args, column);
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) StoreSums(args, columns, sums[r][v], row + r, column);
  }
}

template <int kVectors, int kRows = kMaxRows>
void Panel(const Int8GemmArgs& args, const int8_t* panel, int64_t first, int64_t row = 0) {
  for (; row + kRows <= args.m; row += kRows) Tile<kRows, kVectors>(args, row, panel, first);
  if constexpr (kRows > 1) {
    if (row < args.m) Panel<kVectors, kRows - 1>(args, panel, first, row);
  }
}

void Gemm(const Int8GemmArgs& args) {
  const int8_t* panel = args.packed;
  for (int64_t first = 0; first < args.n; first += kPanelColumns) {
    const int64_t left = Int8PaddedColumns(args.n) - first;
    const int64_t columns = left < kPanelColumns ? left : kPanelColumns;
    switch (columns / kLanes) {
      case 1:
        Panel<1>(args, panel, first);
        break;
      case 2:
        Panel<2>(args, panel, first);
        break;
      case 3:
        Panel<3>(args, panel, first);
        break;
      default:
        Panel<4>(args, panel, first);
        break;
    }
    panel += Int8RowBytes(args.k) * columns;
  }
}

}  // namespace

const Int8Kernels kInt8Vnni = {QuantizeRow, Largest, Gemm};

}  // namespace verdict::cpu
