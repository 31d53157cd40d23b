// Compiled for AVX-512 with BW, VL and BF16.
#include "backends/cpu/half_gemm_avx512.h"
#include "backends/cpu/half_gemm_kernels.h"

namespace verdict::cpu {
namespace {

constexpr int kMaxRows = 6;  // by two vectors, and twice: 24 sums of 32 registers
constexpr int64_t kPairs = 2 * kLanes;
constexpr int64_t kPrefetchValues = 1024;

/// sums + the two products of each lane, in assembly for the reason that int8_gemm_vnni.cc gives.
/// Not of __m512bh: Clang 16 does not survive an operand of it.
inline __m512 AddDots(__m512 sums, __m512i a, __m512i weights) {
  asm inline("vdpbf16ps %2, %1, %0" : "+v"(sums) : "v"(a), "v"(weights));
  return sums;
}

/// Adds the products of one pair of k.
template <int kRows, int kVectors>
inline void AddPair(const uint16_t* a, int64_t a_stride, const uint16_t* weights,
                    __m512 (&sums)[kRows][kVectors]) {
  __m512i w[kVectors];
  for (int v = 0; v < kVectors; ++v) {
    w[v] = _mm512_loadu_si512(weights + v * kPairs);
    if constexpr (kRows == 1) {
      const uint16_t* ahead = weights + kPrefetchValues + v * kPairs;
      _mm_prefetch(reinterpret_cast<const char*>(ahead), _MM_HINT_T0);
    }
  }
  for (int r = 0; r < kRows; ++r) {
    int32_t pair = 0;
    __builtin_memcpy(&pair, a + r * a_stride, sizeof(pair));
    const __m512i factor = _mm512_set1_epi32(pair);
    for (int v = 0; v < kVectors; ++v) sums[r][v] = AddDots(sums[r][v], factor, w[v]);
  }
}

/// kRows rows by kVectors vectors of columns. Every other pair of k has sums of its own: a single
/// row has too few to hide the instruction's latency, and larger tiles must do as it does.
template <int kRows, int kVectors>
void Tile(const HalfGemmArgs& args, int64_t row, const uint16_t* weights, int64_t stride,
          int64_t column) {
  const int64_t row_values = HalfRowValues(args.k);
  const uint16_t* a = args.a + row * row_values;
  __m512 sums[kRows][kVectors], others[kRows][kVectors];
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) sums[r][v] = others[r][v] = _mm512_setzero_ps();
  }
  int64_t p = 0;
  for (; p + 4 <= row_values; p += 4) {
    AddPair(a + p, row_values, weights, sums);
    AddPair(a + p + 2, row_values, weights + stride, others);
    weights += 2 * stride;
  }
  if (p < row_values) AddPair(a + p, row_values, weights, sums);
  // Unrolled, so that sums stay in registers.
  if (!args.accumulate && !args.relu && args.n - column >= kVectors * kLanes) {
#pragma GCC unroll 6
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        const int64_t at = column + v * kLanes;
        __m512 y = _mm512_add_ps(sums[r][v], others[r][v]);
        if (args.bias != nullptr) y = _mm512_add_ps(y, _mm512_loadu_ps(args.bias + at));
        _mm512_storeu_ps(args.c + (row + r) * args.ldc + at, y);
      }
    }
    return;
  }
#pragma GCC unroll 6
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      StoreSums(args, _mm512_add_ps(sums[r][v], others[r][v]), row + r, column + v * kLanes);
    }
  }
}

/// As many rows as `rows` says, up to kRows, of a panel.
template <int kRows>
void Rows(const HalfGemmArgs& args, int64_t rows, int64_t row, const uint16_t* panel, int64_t first,
          int64_t columns) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return Rows<kRows - 1>(args, rows, row, panel, first, columns);
  }
  constexpr int kVectors = kRows <= kMaxRows / 2 ? 4 : 2;
  int64_t at = 0;
  for (; at + kVectors * kLanes <= columns; at += kVectors * kLanes) {
    Tile<kRows, kVectors>(args, row, panel + at * 2, columns * 2, first + at);
  }
  for (; at < columns; at += kLanes) {
    Tile<kRows, 1>(args, row, panel + at * 2, columns * 2, first + at);
  }
}

void Gemm(const HalfGemmArgs& args) {
  const uint16_t* panel = args.packed;
  for (int64_t first = 0; first < args.n; first += kPanelColumns) {
    const int64_t left = HalfPaddedColumns(args.n) - first;
    const int64_t columns = left < kPanelColumns ? left : kPanelColumns;
    int64_t rows = 0;
    for (int64_t row = 0; row < args.m; row += rows) {
      // Tiles of like height.
      const int64_t tiles = (args.m - row + kMaxRows - 1) / kMaxRows;
      rows = (args.m - row + tiles - 1) / tiles;
      Rows<kMaxRows>(args, rows, row, panel, first, columns);
    }
    panel += HalfRowValues(args.k) * columns;
  }
}

}  // namespace

const HalfKernels kHalfBf16 = {.gemm_bfloat16 = Gemm};

}  // namespace verdict::cpu
