// Compiled for AVX-512 with AMX-INT8.
#include <immintrin.h>

#include "backends/cpu/int8_gemm_kernels.h"

namespace verdict::cpu {
namespace {

constexpr int64_t kLanes = 16;
constexpr int64_t kPanelColumns = 64;
constexpr int64_t kTileRows = 16;
constexpr int64_t kTileBytes = 64;  // of a row
/// With fewer rows a tile's work is mostly loading weights, which VNNI does as fast.
constexpr int64_t kLeastRows = 4;

/// Tiles: 0 and 1 are sums of 16 rows by two times 16 columns; 2 to 4 are activations and twice
/// weights of 64 of k; 5 to 7 the same of what is left of k. `rows` of sums and activations.
void Configure(int64_t rows, int64_t rest) {
  struct alignas(64) {
    uint8_t palette = 1;
    uint8_t start_row = 0;
    uint8_t reserved[14] = {};
    uint16_t row_bytes[16] = {};
    uint8_t rows[16] = {};
  } config;
  const auto set = [&](int tile, int64_t tile_rows, int64_t bytes) {
    config.rows[tile] = static_cast<uint8_t>(tile_rows);
    config.row_bytes[tile] = static_cast<uint16_t>(bytes);
  };
  set(0, rows, kTileBytes);
  set(1, rows, kTileBytes);
  set(2, rows, kTileBytes);
  set(3, kTileRows, kTileBytes);
  set(4, kTileRows, kTileBytes);
  if (rest > 0) {
    set(5, rows, rest);
    set(6, rest / 4, kTileBytes);
    set(7, rest / 4, kTileBytes);
  }
  // GCC 12 takes the instruction to read eight bytes alone.
  __asm__ volatile("" : : "r"(&config) : "memory");
  _tile_loadconfig(&config);
}

__mmask16 FirstLanes(int64_t count) {
  return static_cast<__mmask16>(count >= kLanes ? 0xFFFF : (1U << count) - 1);
}

void Store(const Int8GemmArgs& args, const int32_t* sums, int64_t row, int64_t rows,
           int64_t column) {
  const __m512i offsets = _mm512_loadu_si512(args.offsets + column);
  const __m512 b_scales = _mm512_loadu_ps(args.b_scales + column);
  const __m512 bias = _mm512_loadu_ps(args.bias + column);
  const __mmask16 lanes = FirstLanes(args.n - column);
  for (int64_t r = 0; r < rows; ++r) {
    float* c = args.c + (row + r) * args.ldc + column;
    const __m512i sum = _mm512_add_epi32(_mm512_loadu_si512(sums + r * kLanes), offsets);
    const __m512 scales = _mm512_mul_ps(b_scales, _mm512_set1_ps(args.a_scales[row + r]));
    __m512 y = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), scales, bias);
    if (args.accumulate) y = _mm512_add_ps(y, _mm512_maskz_loadu_ps(lanes, c));
    if (args.relu) {
      y = _mm512_mask_mov_ps(y, _mm512_cmp_ps_mask(y, _mm512_setzero_ps(), _CMP_LT_OQ),
                             _mm512_setzero_ps());
    }
    _mm512_mask_storeu_ps(c, lanes, y);
  }
}

/// Up to 16 rows by 16 or 32 columns.
template <bool kTwo>
void Block(const Int8GemmArgs& args, int64_t row, int64_t rows, const int8_t* panel,
           int64_t panel_columns, int64_t first, int64_t column) {
  const int64_t row_bytes = Int8RowBytes(args.k);
  const uint8_t* a = args.a + row * row_bytes;
  const int8_t* b = panel + (column - first) * 4;
  const int64_t b_stride = panel_columns * 4;
  _tile_zero(0);
  if constexpr (kTwo) _tile_zero(1);
  int64_t p = 0;
  for (; p + kTileBytes <= row_bytes; p += kTileBytes) {
    _tile_loadd(2, a + p, row_bytes);
    _tile_loadd(3, b, b_stride);
    _tile_dpbusd(0, 2, 3);
    if constexpr (kTwo) {
      _tile_loadd(4, b + kTileBytes, b_stride);
      _tile_dpbusd(1, 2, 4);
    }
    b += kTileRows * b_stride;
  }
  if (p < row_bytes) {
    _tile_loadd(5, a + p, row_bytes);
    _tile_loadd(6, b, b_stride);
    _tile_dpbusd(0, 5, 6);
    if constexpr (kTwo) {
      _tile_loadd(7, b + kTileBytes, b_stride);
      _tile_dpbusd(1, 5, 7);
    }
  }
  alignas(64) int32_t sums[kTileRows * kLanes];
  _tile_stored(0, sums, kTileBytes);
  Store(args, sums, row, rows, column);
  if constexpr (kTwo) {
    _tile_stored(1, sums, kTileBytes);
    Store(args, sums, row, rows, column + kLanes);
  }
}

void Rows(const Int8GemmArgs& args, int64_t row, int64_t end) {
  const int8_t* panel = args.packed;
  for (int64_t first = 0; first < args.n; first += kPanelColumns) {
    const int64_t left = Int8PaddedColumns(args.n) - first;
    const int64_t columns = left < kPanelColumns ? left : kPanelColumns;
    for (int64_t r = row; r < end; r += kTileRows) {
      const int64_t rows = end - r < kTileRows ? end - r : kTileRows;
      int64_t column = first;
      for (; column + 2 * kLanes <= first + columns; column += 2 * kLanes) {
        Block<true>(args, r, rows, panel, columns, first, column);
      }
      if (column < first + columns) {
        Block<false>(args, r, rows, panel, columns, first, column);
      }
    }
    panel += Int8RowBytes(args.k) * columns;
  }
}

void Gemm(const Int8GemmArgs& args) {
  if (args.m < kLeastRows) return kInt8Vnni.gemm(args);
  const int64_t rest = Int8RowBytes(args.k) % kTileBytes;
  const int64_t whole = args.m / kTileRows * kTileRows;
  if (whole > 0) {
    Configure(kTileRows, rest);
    Rows(args, 0, whole);
  }
  if (whole < args.m) {
    Configure(args.m - whole, rest);
    Rows(args, whole, args.m);
  }
  _tile_release();  // or every switch of threads would save the tiles
}

}  // namespace

const Int8Kernels kInt8Amx = {nullptr, nullptr, Gemm};

}  // namespace verdict::cpu
