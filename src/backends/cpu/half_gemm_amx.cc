// Compiled for AVX-512 with AMX-BF16.
#include "backends/cpu/amx_tiles.h"
#include "backends/cpu/half_gemm_avx512.h"
#include "backends/cpu/half_gemm_kernels.h"

namespace verdict::cpu {
namespace {

void Store(const HalfGemmArgs& args, const float* sums, int64_t row, int64_t rows, int64_t column) {
  for (int64_t r = 0; r < rows; ++r) {
    StoreSums(args, _mm512_loadu_ps(sums + r * kLanes), row + r, column);
  }
}

/// Rows by kTiles times 16 columns, of which `first` is the first.
template <int kTiles>
void Block(const HalfGemmArgs& args, int64_t row, int64_t rows, int64_t first,
           const std::byte* panel) {
  const int64_t row_bytes = HalfRowValues(args.k) * 2, b_stride = kTiles * kTileBytes;
  const std::byte* a = reinterpret_cast<const std::byte*>(args.a) + row * row_bytes;
  const std::byte* b = panel;
  _tile_zero(0);
  if constexpr (kTiles > 1) _tile_zero(1);
  if constexpr (kTiles > 2) _tile_zero(2);
  if constexpr (kTiles > 3) _tile_zero(3);
  int64_t p = 0;
  for (; p + kTileBytes <= row_bytes; p += kTileBytes) VERDICT_AMX_STEP(_tile_dpbf16ps, 4, 5, p);
  if (p < row_bytes) VERDICT_AMX_STEP(_tile_dpbf16ps, 7, 6, p);
  alignas(64) float sums[kTileRows * kLanes];
  _tile_stored(0, sums, kTileBytes);
  Store(args, sums, row, rows, first);
  if constexpr (kTiles > 1) {
    _tile_stored(1, sums, kTileBytes);
    Store(args, sums, row, rows, first + 1 * kLanes);
  }
  if constexpr (kTiles > 2) {
    _tile_stored(2, sums, kTileBytes);
    Store(args, sums, row, rows, first + 2 * kLanes);
  }
  if constexpr (kTiles > 3) {
    _tile_stored(3, sums, kTileBytes);
    Store(args, sums, row, rows, first + 3 * kLanes);
  }
}

/// For any number of rows: a tile sums in another order than BF16's instruction, and a row's bits
/// must not depend on its batch.
void Gemm(const HalfGemmArgs& args) {
  ForEachBlock(
      args.m, HalfPaddedColumns(args.n), HalfRowValues(args.k) * 2,
      reinterpret_cast<const std::byte*>(args.packed),
      [&](int64_t row, int64_t rows, int64_t columns, int64_t first, const std::byte* panel) {
        switch (columns / kLanes) {
          case 1:
            return Block<1>(args, row, rows, first, panel);
          case 2:
            return Block<2>(args, row, rows, first, panel);
          case 3:
            return Block<3>(args, row, rows, first, panel);
          default:
            return Block<4>(args, row, rows, first, panel);
        }
      });
}

}  // namespace

const HalfKernels kHalfAmx = {.gemm_bfloat16 = Gemm};

}  // namespace verdict::cpu
