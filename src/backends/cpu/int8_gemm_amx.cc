// Compiled for AVX-512 with AMX-INT8.
#include "backends/cpu/amx_tiles.h"
#include "backends/cpu/int8_gemm_avx512.h"
#include "backends/cpu/int8_gemm_kernels.h"

namespace verdict::cpu {
namespace {

/// With fewer rows a tile's work is mostly loading weights, which VNNI does as fast.
constexpr int64_t kLeastRows = 4;

void Store(const Int8GemmArgs& args, const int32_t* sums, int64_t row, int64_t rows,
           int64_t column) {
  const __m512i offsets = _mm512_loadu_si512(args.offsets + column);
  const ColumnScales columns = LoadScales(args, column);
  for (int64_t r = 0; r < rows; ++r) {
    const __m512i sum = _mm512_add_epi32(_mm512_loadu_si512(sums + r * kLanes), offsets);
    StoreSums(args, columns, sum, row + r, column);
  }
}

/// Rows by kTiles times 16 columns, of which `first` is the first.
template <int kTiles>
void Block(const Int8GemmArgs& args, int64_t row, int64_t rows, int64_t first,
           const std::byte* panel) {
  const int64_t row_bytes = Int8RowBytes(args.k), b_stride = kTiles * kTileBytes;
  const std::byte* a = reinterpret_cast<const std::byte*>(args.a) + row * row_bytes;
  const std::byte* b = panel;
  _tile_zero(0);
  if constexpr (kTiles > 1) _tile_zero(1);
  if constexpr (kTiles > 2) _tile_zero(2);
  if constexpr (kTiles > 3) _tile_zero(3);
  int64_t p = 0;
  for (; p + kTileBytes <= row_bytes; p += kTileBytes) VERDICT_AMX_STEP(_tile_dpbusd, 4, 5, p);
  if (p < row_bytes) VERDICT_AMX_STEP(_tile_dpbusd, 7, 6, p);
  alignas(64) int32_t sums[kTileRows * kLanes];
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

void Gemm(const Int8GemmArgs& args) {
  if (args.m < kLeastRows) return kInt8Vnni.gemm(args);
  ForEachBlock(
      args.m, Int8PaddedColumns(args.n), Int8RowBytes(args.k),
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

const Int8Kernels kInt8Amx = {nullptr, nullptr, Gemm};

}  // namespace verdict::cpu
