// Compiled for AVX2 with FMA.
#include <immintrin.h>

#include "backends/cpu/int8_gemm_kernels.h"

namespace verdict::cpu {
namespace {

constexpr int64_t kLanes = 8;
constexpr int64_t kColumns = 16;  // of a tile
constexpr int64_t kPanelColumns = 64;
constexpr int kMaxRows = 2;
constexpr int kQuads = 4;  // of four columns each

__m256i FirstLanes(int64_t count) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const int limit = count >= kLanes ? 8 : count > 0 ? static_cast<int>(count) : 0;
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(limit), lane);
}

/// As in int8_gemm_vnni.cc.
void Quantize(__m256 x, __m256 scale, __m256 reciprocal, int32_t zero_point, uint8_t* to,
              int64_t count) {
  const __m256 low = _mm256_set1_ps(static_cast<float>(-zero_point));
  const __m256 high = _mm256_set1_ps(static_cast<float>(255 - zero_point));
  __m256 value = _mm256_min_ps(_mm256_max_ps(_mm256_mul_ps(x, reciprocal), low), high);
  const __m256 rest =
      _mm256_sub_ps(value, _mm256_round_ps(value, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  const __m256 size = _mm256_andnot_ps(_mm256_set1_ps(-0.0F), rest);
  if (_mm256_movemask_ps(_mm256_cmp_ps(size, _mm256_set1_ps(0.4999F), _CMP_GT_OQ)) != 0) {
    value = _mm256_min_ps(_mm256_max_ps(_mm256_div_ps(x, scale), low), high);
  }
  const __m256i q = _mm256_add_epi32(_mm256_cvtps_epi32(value), _mm256_set1_epi32(zero_point));
  alignas(32) int32_t wide[kLanes];
  _mm256_store_si256(reinterpret_cast<__m256i*>(wide), q);
  for (int64_t i = 0; i < count; ++i) to[i] = static_cast<uint8_t>(wide[i]);
}

void QuantizeRow(const float* x, int64_t k, float scale, int32_t zero_point, uint8_t* a) {
  const __m256 scales = _mm256_set1_ps(scale);
  const __m256 reciprocal = _mm256_set1_ps(1.0F / scale);
  int64_t p = 0;
  for (; p + kLanes <= k; p += kLanes) {
    Quantize(_mm256_loadu_ps(x + p), scales, reciprocal, zero_point, a + p, kLanes);
  }
  if (p < k) {
    Quantize(_mm256_maskload_ps(x + p, FirstLanes(k - p)), scales, reciprocal, zero_point, a + p,
             Int8RowBytes(k) - p);
  }
}

float Largest(const float* x, int64_t k) {
  __m256 most = _mm256_setzero_ps(), nan = _mm256_setzero_ps();
  for (int64_t p = 0; p < k; p += kLanes) {
    const __m256 v = _mm256_maskload_ps(x + p, FirstLanes(k - p));
    nan = _mm256_or_ps(nan, _mm256_cmp_ps(v, v, _CMP_UNORD_Q));
    most = _mm256_max_ps(most, _mm256_andnot_ps(_mm256_set1_ps(-0.0F), v));
  }
  if (_mm256_movemask_ps(nan) != 0) return __builtin_nanf("");
  alignas(32) float lanes[kLanes];
  _mm256_store_ps(lanes, most);
  float largest = 0;
  for (const float lane : lanes) largest = lane > largest ? lane : largest;
  return largest;
}

void Store(const Int8GemmArgs& args, __m256i sums, int64_t row, int64_t column) {
  const __m256i sum = _mm256_add_epi32(
      sums, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(args.offsets + column)));
  const __m256 scales =
      _mm256_mul_ps(_mm256_loadu_ps(args.b_scales + column), _mm256_set1_ps(args.a_scales[row]));
  __m256 y = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), scales, _mm256_loadu_ps(args.bias + column));
  const __m256i lanes = FirstLanes(args.n - column);
  float* c = args.c + row * args.ldc + column;
  if (args.accumulate) y = _mm256_add_ps(y, _mm256_maskload_ps(c, lanes));
  // Not a maximum: NaN stays NaN.
  if (args.relu) y = _mm256_andnot_ps(_mm256_cmp_ps(y, _mm256_setzero_ps(), _CMP_LT_OQ), y);
  _mm256_maskstore_ps(c, lanes, y);
}

/// kRows rows by 16 columns. Products are summed in pairs of int16: two sums a column.
template <int kRows>
void Tile(const Int8GemmArgs& args, int64_t row, const int8_t* b, int64_t b_stride,
          int64_t column) {
  const int64_t row_bytes = Int8RowBytes(args.k);
  const uint8_t* a = args.a + row * row_bytes;
  __m256i sums[kRows][kQuads];
  for (int r = 0; r < kRows; ++r) {
    for (int q = 0; q < kQuads; ++q) sums[r][q] = _mm256_setzero_si256();
  }
  for (int64_t p = 0; p < row_bytes; p += 4) {
    __m256i factors[kRows];
    for (int r = 0; r < kRows; ++r) {
      int32_t four = 0;
      __builtin_memcpy(&four, a + r * row_bytes + p, 4);
      factors[r] = _mm256_broadcastq_epi64(_mm_cvtepu8_epi16(_mm_cvtsi32_si128(four)));
    }
    for (int q = 0; q < kQuads; ++q) {
      const __m256i weights =
          _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(b + q * 16)));
      for (int r = 0; r < kRows; ++r) {
        sums[r][q] = _mm256_add_epi32(sums[r][q], _mm256_madd_epi16(factors[r], weights));
      }
    }
    b += b_stride;
  }
  for (int r = 0; r < kRows; ++r) {
    for (int half = 0; half < 2; ++half) {
      const __m256i pairs = _mm256_hadd_epi32(sums[r][2 * half], sums[r][2 * half + 1]);
      const int64_t at = column + half * kLanes;
      if (at < args.n) Store(args, _mm256_permute4x64_epi64(pairs, 0xD8), row + r, at);
    }
  }
}

void Gemm(const Int8GemmArgs& args) {
  const int8_t* panel = args.packed;
  for (int64_t first = 0; first < args.n; first += kPanelColumns) {
    const int64_t left = Int8PaddedColumns(args.n) - first;
    const int64_t columns = left < kPanelColumns ? left : kPanelColumns;
    for (int64_t at = 0; at < columns; at += kColumns) {
      int64_t row = 0;
      for (; row + kMaxRows <= args.m; row += kMaxRows) {
        Tile<kMaxRows>(args, row, panel + at * 4, columns * 4, first + at);
      }
      if (row < args.m) Tile<1>(args, row, panel + at * 4, columns * 4, first + at);
    }
    panel += Int8RowBytes(args.k) * columns;
  }
}

}  // namespace

const Int8Kernels kInt8Avx2 = {QuantizeRow, Largest, Gemm};

}  // namespace verdict::cpu
