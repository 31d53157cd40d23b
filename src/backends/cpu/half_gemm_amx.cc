// Compiled for AVX-512 with AMX-BF16.
#include "backends/cpu/amx_tiles.h"
#include "backends/cpu/half_gemm_avx512.h"
#include "backends/cpu/half_gemm_kernels.h"

namespace verdict::cpu {
namespace {

struct BFloat16Dots {
  using Sum = float;
  template <int kTile>
  static void Whole() {
    if constexpr (kTile == 0) _tile_dpbf16ps(0, 4, 5);
    if constexpr (kTile == 1) _tile_dpbf16ps(1, 4, 5);
    if constexpr (kTile == 2) _tile_dpbf16ps(2, 4, 5);
    if constexpr (kTile == 3) _tile_dpbf16ps(3, 4, 5);
  }
  template <int kTile>
  static void Rest() {
    if constexpr (kTile == 0) _tile_dpbf16ps(0, 7, 6);
    if constexpr (kTile == 1) _tile_dpbf16ps(1, 7, 6);
    if constexpr (kTile == 2) _tile_dpbf16ps(2, 7, 6);
    if constexpr (kTile == 3) _tile_dpbf16ps(3, 7, 6);
  }
};

void Store(const HalfGemmArgs& args, const float* sums, int64_t row, int64_t rows, int64_t column) {
  for (int64_t r = 0; r < rows; ++r) {
    StoreSums(args, _mm512_loadu_ps(sums + r * kLanes), row + r, column);
  }
}

/// For any number of rows: a tile sums in another order than BF16's instruction, and a row's bits
/// must not depend on its batch.
void Gemm(const HalfGemmArgs& args) {
  AmxGemm<BFloat16Dots>(args.a, args.m, HalfPaddedColumns(args.n), HalfRowValues(args.k) * 2,
                        args.packed,
                        [&](const float* sums, int64_t row, int64_t rows, int64_t column) {
                          Store(args, sums, row, rows, column);
                        });
}

}  // namespace

const HalfKernels kHalfAmx = {.gemm_bfloat16 = Gemm};

}  // namespace verdict::cpu
