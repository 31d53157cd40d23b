// Compiled for AVX-512 with AMX-INT8.
#include "backends/cpu/amx_tiles.h"
#include "backends/cpu/int8_gemm_avx512.h"
#include "backends/cpu/int8_gemm_kernels.h"

namespace verdict::cpu {
namespace {

struct Int8Dots {
  using Sum = int32_t;
  template <int kTile>
  static void Whole() {
    if constexpr (kTile == 0) _tile_dpbusd(0, 4, 5);
    if constexpr (kTile == 1) _tile_dpbusd(1, 4, 5);
    if constexpr (kTile == 2) _tile_dpbusd(2, 4, 5);
    if constexpr (kTile == 3) _tile_dpbusd(3, 4, 5);
  }
  template <int kTile>
  static void Rest() {
    if constexpr (kTile == 0) _tile_dpbusd(0, 7, 6);
    if constexpr (kTile == 1) _tile_dpbusd(1, 7, 6);
    if constexpr (kTile == 2) _tile_dpbusd(2, 7, 6);
    if constexpr (kTile == 3) _tile_dpbusd(3, 7, 6);
  }
};

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

void Gemm(const Int8GemmArgs& args) {
  if (args.m < kLeastRows) return kInt8Vnni.gemm(args);
  AmxGemm<Int8Dots>(args.a, args.m, Int8PaddedColumns(args.n), Int8RowBytes(args.k), args.packed,
                    [&](const int32_t* sums, int64_t row, int64_t rows, int64_t column) {
                      Store(args, sums, row, rows, column);
                    });
}

}  // namespace

const Int8Kernels kInt8Amx = {nullptr, nullptr, Gemm};

}  // namespace verdict::cpu
