// Compiled for AVX-512 with BW, DQ and VL.
#include <immintrin.h>

#include "backends/cpu/half_gemm_floats.h"
#include "backends/cpu/half_gemm_kernels.h"

namespace verdict::cpu {
namespace {

__mmask16 FirstLanes(int64_t count) {
  return static_cast<__mmask16>(count >= 16 ? 0xFFFF : (1U << count) - 1);
}

struct Avx512 {
  using F = __m512;
  static constexpr int64_t kLanes = 16;
  static constexpr int kMaxRows = 6;  // 24 sums, 4 of weights, 2 of rows: 30 of 32 registers

  static F Zero() { return _mm512_setzero_ps(); }
  static F Set(float value) { return _mm512_set1_ps(value); }
  static F SetPair(const float* pair) {
    double both = 0;
    __builtin_memcpy(&both, pair, sizeof(both));
    return _mm512_castpd_ps(_mm512_set1_pd(both));
  }
  static F Load(const float* from) { return _mm512_loadu_ps(from); }
  static void Store(float* to, F value) { _mm512_storeu_ps(to, value); }
  static F LoadFirst(const float* from, int64_t count) {
    return _mm512_maskz_loadu_ps(FirstLanes(count), from);
  }
  static void StoreFirst(float* to, F value, int64_t count) {
    _mm512_mask_storeu_ps(to, FirstLanes(count), value);
  }
  static F Add(F a, F b) { return _mm512_add_ps(a, b); }
  static F MulAdd(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
  /// Not a maximum: NaN stays NaN.
  static F Relu(F x) {
    return _mm512_mask_mov_ps(x, _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_LT_OQ),
                              _mm512_setzero_ps());
  }
  static F AddNeighbours(F low, F high) {
    const __m512i even =
        _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
    return _mm512_add_ps(_mm512_permutex2var_ps(low, even, high),
                         _mm512_permutex2var_ps(low, odd, high));
  }

  static void LoadBFloat16(const uint16_t* from, F& even, F& odd) {
    const __m512i pairs = _mm512_loadu_si512(from);
    even = _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16));
    odd = _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32(-0x10000)));
  }
  static void LoadFloat16(const uint16_t* from, F& low, F& high) {
    low = _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
    high = _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + 16)));
  }

  template <HalfType kType>
  static F Widen(const uint16_t* from, int64_t count) {
    const __m256i halves = _mm256_maskz_loadu_epi16(FirstLanes(count), from);
    if constexpr (kType == HalfType::kFloat16) {
      return _mm512_cvtph_ps(halves);
    } else {
      return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
    }
  }
};

/// As BFloat16::Of. The instruction of AVX-512 BF16 would make subnormal numbers zero.
__m256i ToBFloat16(__m512 x) {
  const __m512i bits = _mm512_castps_si512(x);
  const __m512i upper = _mm512_srli_epi32(bits, 16);
  const __m512i odd = _mm512_and_si512(upper, _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_srli_epi32(
      _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF))), 16);
  const __mmask16 is_nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
  return _mm512_cvtepi32_epi16(
      _mm512_mask_or_epi32(rounded, is_nan, upper, _mm512_set1_epi32(0x40)));
}

__m256i ToFloat16(__m512 x) {
  return _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

template <__m256i (*kConvert)(__m512)>
void RoundRow(const float* x, int64_t k, uint16_t* a) {
  int64_t p = 0;
  for (; p + 16 <= k; p += 16) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(a + p), kConvert(_mm512_loadu_ps(x + p)));
  }
  if (p < k) {
    const __m512 last = _mm512_maskz_loadu_ps(FirstLanes(k - p), x + p);  // zeros pad the pair
    _mm256_mask_storeu_epi16(a + p, FirstLanes(HalfRowValues(k) - p), kConvert(last));
  }
}

}  // namespace

const HalfKernels kHalfAvx512 = {
    .round_bfloat16 = RoundRow<ToBFloat16>,
    .round_float16 = RoundRow<ToFloat16>,
    .gemm_bfloat16 = FloatLoops<Avx512, HalfType::kBFloat16>::Gemm,
    .gemm_float16 = FloatLoops<Avx512, HalfType::kFloat16>::Gemm,
};

}  // namespace verdict::cpu
