// Compiled for AVX-512 with BW, VL and BF16.
#include "backends/cpu/half_gemm_avx512.h"
#include "backends/cpu/half_gemm_kernels.h"

namespace verdict::cpu {
namespace {

constexpr int kMaxRows = 6;  // 24 sums and 4 of weights, of 32 registers
constexpr int64_t kPairs = 2 * kLanes;
constexpr int64_t kPrefetchValues = 1024;

__m512bh AsBFloat16(__m512i bits) { return reinterpret_cast<__m512bh>(bits); }

/// kRows rows of kPanels panels that are kVectors vectors wide each.
template <int kRows, int kVectors, int kPanels>
void Tile(const HalfGemmArgs& args, int64_t row, const uint16_t* panel, int64_t first) {
  constexpr int kWide = kVectors * kPanels;
  const int64_t row_values = HalfRowValues(args.k);
  const uint16_t* a = args.a + row * row_values;
  __m512 sums[kRows][kWide];
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kWide; ++v) sums[r][v] = _mm512_setzero_ps();
  }
  for (int64_t p = 0; p < row_values; p += 2) {
    __m512bh weights[kWide];
    for (int v = 0; v < kWide; ++v) {
      const uint16_t* from =
          panel + v / kVectors * row_values * kPanelColumns + v % kVectors * kPairs;
      weights[v] = AsBFloat16(_mm512_loadu_si512(from));
      if constexpr (kRows == 1) {
        _mm_prefetch(reinterpret_cast<const char*>(from + kPrefetchValues), _MM_HINT_T0);
      }
    }
    panel += kVectors * kPairs;
    for (int r = 0; r < kRows; ++r) {
      int32_t pair = 0;
      __builtin_memcpy(&pair, a + r * row_values + p, sizeof(pair));
      const __m512bh factor = AsBFloat16(_mm512_set1_epi32(pair));
      for (int v = 0; v < kWide; ++v) {
        sums[r][v] = _mm512_dpbf16_ps(sums[r][v], factor, weights[v]);
      }
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kWide; ++v) StoreSums(args, sums[r][v], row + r, first + v * kLanes);
  }
}

/// As many rows as `rows` says, up to kRows.
template <int kVectors, int kPanels, int kRows>
void Rows(const HalfGemmArgs& args, int64_t rows, int64_t row, const uint16_t* panel,
          int64_t first) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return Rows<kVectors, kPanels, kRows - 1>(args, rows, row, panel, first);
  }
  Tile<kRows, kVectors, kPanels>(args, row, panel, first);
}

template <int kVectors>
void Panel(const HalfGemmArgs& args, const uint16_t* panel, int64_t first) {
  int64_t rows = 0;
  for (int64_t row = 0; row < args.m; row += rows) {
    // Tiles of like height: one of a row or two has too few sums to hide an instruction's latency.
    const int64_t tiles = (args.m - row + kMaxRows - 1) / kMaxRows;
    rows = (args.m - row + tiles - 1) / tiles;
    Rows<kVectors, 1, kMaxRows>(args, rows, row, panel, first);
  }
}

void Gemm(const HalfGemmArgs& args) {
  const uint16_t* panel = args.packed;
  int64_t first = 0;
  // For the same reason.
  if (args.m <= 2) {
    for (; first + 2 * kPanelColumns <= args.n; first += 2 * kPanelColumns) {
      Rows<4, 2, 2>(args, args.m, 0, panel, first);
      panel += HalfRowValues(args.k) * kPanelColumns * 2;
    }
  }
  for (; first < args.n; first += kPanelColumns) {
    const int64_t left = HalfPaddedColumns(args.n) - first;
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
    panel += HalfRowValues(args.k) * columns;
  }
}

}  // namespace

const HalfKernels kHalfBf16 = {.gemm_bfloat16 = Gemm};

}  // namespace verdict::cpu
