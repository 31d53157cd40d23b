// Compiled for AVX-512 with AMX-INT8.
#include "backends/cpu/int8_gemm_avx512.h"
#include "backends/cpu/int8_gemm_kernels.h"

namespace verdict::cpu {
namespace {

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

void Store(const Int8GemmArgs& args, const int32_t* sums, int64_t row, int64_t rows,
           int64_t column) {
  const __m512i offsets = _mm512_loadu_si512(args.offsets + column);
  const ColumnScales columns = LoadScales(args, column);
  for (int64_t r = 0; r < rows; ++r) {
    const __m512i sum = _mm512_add_epi32(_mm512_loadu_si512(sums + r * kLanes), offsets);
    StoreSums(args, columns, sum, row + r, column);
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
