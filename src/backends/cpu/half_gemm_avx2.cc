// Compiled for AVX2 with FMA and F16C.
#include <immintrin.h>

#include "backends/cpu/half_gemm_floats.h"
#include "backends/cpu/half_gemm_kernels.h"

namespace verdict::cpu {
namespace {

__m256i FirstLanes(int64_t count) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const int limit = count >= 8 ? 8 : count > 0 ? static_cast<int>(count) : 0;
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(limit), lane);
}

/// Up to eight halves, in pairs.
__m128i LoadPairs(const uint16_t* from, int64_t count) {
  const int pairs = count >= 8 ? 4 : static_cast<int>(count / 2);
  const __m128i lanes = _mm_cmpgt_epi32(_mm_set1_epi32(pairs), _mm_setr_epi32(0, 1, 2, 3));
  return _mm_maskload_epi32(reinterpret_cast<const int*>(from), lanes);
}

struct Avx2 {
  using F = __m256;
  static constexpr int64_t kLanes = 8;
  static constexpr int kMaxRows = 2;  // 8 sums, 4 of weights, 2 of rows: 14 of 16 registers

  static F Zero() { return _mm256_setzero_ps(); }
  static F Set(float value) { return _mm256_set1_ps(value); }
  static F SetPair(const float* pair) {
    double both = 0;
    __builtin_memcpy(&both, pair, sizeof(both));
    return _mm256_castpd_ps(_mm256_set1_pd(both));
  }
  static F Load(const float* from) { return _mm256_loadu_ps(from); }
  static void Store(float* to, F value) { _mm256_storeu_ps(to, value); }
  static F LoadFirst(const float* from, int64_t count) {
    return _mm256_maskload_ps(from, FirstLanes(count));
  }
  static void StoreFirst(float* to, F value, int64_t count) {
    _mm256_maskstore_ps(to, FirstLanes(count), value);
  }
  static F Add(F a, F b) { return _mm256_add_ps(a, b); }
  static F MulAdd(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
  /// Not a maximum: NaN stays NaN.
  static F Relu(F x) {
    return _mm256_andnot_ps(_mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_LT_OQ), x);
  }
  static F AddNeighbours(F low, F high) {
    const __m256d sums = _mm256_castps_pd(_mm256_hadd_ps(low, high));
    return _mm256_castpd_ps(_mm256_permute4x64_pd(sums, 0xD8));
  }

  static void LoadBFloat16(const uint16_t* from, F& even, F& odd) {
    const __m256i pairs = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
    even = _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16));
    odd = _mm256_castsi256_ps(_mm256_and_si256(pairs, _mm256_set1_epi32(-0x10000)));
  }
  static void LoadFloat16(const uint16_t* from, F& low, F& high) {
    low = _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
    high = _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + 8)));
  }

  template <HalfType kType>
  static F Widen(const uint16_t* from, int64_t count) {
    const __m128i halves = LoadPairs(from, count);
    if constexpr (kType == HalfType::kFloat16) {
      return _mm256_cvtph_ps(halves);
    } else {
      return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
    }
  }
};

/// As BFloat16::Of.
__m128i ToBFloat16(__m256 x) {
  const __m256i bits = _mm256_castps_si256(x);
  const __m256i upper = _mm256_srli_epi32(bits, 16);
  const __m256i odd = _mm256_and_si256(upper, _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_srli_epi32(
      _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7FFF))), 16);
  const __m256i quiet = _mm256_or_si256(upper, _mm256_set1_epi32(0x40));
  const __m256i is_nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
  const __m256i words = _mm256_blendv_epi8(rounded, quiet, is_nan);
  return _mm_packus_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
}

__m128i ToFloat16(__m256 x) {
  return _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

template <__m128i (*kConvert)(__m256)>
void RoundRow(const float* x, int64_t k, uint16_t* a) {
  int64_t p = 0;
  for (; p + 8 <= k; p += 8) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(a + p), kConvert(_mm256_loadu_ps(x + p)));
  }
  if (p < k) {
    alignas(16) uint16_t last[8];
    _mm_store_si128(reinterpret_cast<__m128i*>(last),
                    kConvert(_mm256_maskload_ps(x + p, FirstLanes(k - p))));
    for (int64_t i = 0; p + i < HalfRowValues(k); ++i) a[p + i] = last[i];
  }
}

}  // namespace

const HalfKernels kHalfAvx2 = {
    .round_bfloat16 = RoundRow<ToBFloat16>,
    .round_float16 = RoundRow<ToFloat16>,
    .gemm_bfloat16 = FloatLoops<Avx2, HalfType::kBFloat16>::Gemm,
    .gemm_float16 = FloatLoops<Avx2, HalfType::kFloat16>::Gemm,
};

}  // namespace verdict::cpu
