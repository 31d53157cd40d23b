// Compiled for AVX-512 with AMX-BF16.
#include "backends/cpu/half_gemm_avx512.h"
#include "backends/cpu/half_gemm_kernels.h"

namespace verdict::cpu {
namespace {

constexpr int64_t kTileRows = 16;
constexpr int64_t kTileBytes = 64;  // of a row
constexpr int64_t kTileValues = 32;

/// Tiles: 0 and 1 are sums of 16 rows by two times 16 columns; 2 to 4 are activations and twice
/// weights of 32 of k; 5 to 7 the same of what is left of k. `rows` of sums and activations.
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
    set(5, rows, rest * 2);
    set(6, rest / 2, kTileBytes);
    set(7, rest / 2, kTileBytes);
  }
  // GCC 12 takes the instruction to read eight bytes alone.
  __asm__ volatile("" : : "r"(&config) : "memory");
  _tile_loadconfig(&config);
}

void Store(const HalfGemmArgs& args, const float* sums, int64_t row, int64_t rows, int64_t column) {
  for (int64_t r = 0; r < rows; ++r) {
    StoreSums(args, _mm512_loadu_ps(sums + r * kLanes), row + r, column);
  }
}

/// Up to 16 rows by 16 or 32 columns.
template <bool kTwo>
void Block(const HalfGemmArgs& args, int64_t row, int64_t rows, const uint16_t* panel,
           int64_t panel_columns, int64_t first, int64_t column) {
  const int64_t row_values = HalfRowValues(args.k);
  const uint16_t* a = args.a + row * row_values;
  const uint16_t* b = panel + (column - first) * 2;
  const int64_t a_stride = row_values * 2, b_stride = panel_columns * 4;  // in bytes
  _tile_zero(0);
  if constexpr (kTwo) _tile_zero(1);
  int64_t p = 0;
  for (; p + kTileValues <= row_values; p += kTileValues) {
    _tile_loadd(2, a + p, a_stride);
    _tile_loadd(3, b, b_stride);
    _tile_dpbf16ps(0, 2, 3);
    if constexpr (kTwo) {
      _tile_loadd(4, b + kTileValues, b_stride);
      _tile_dpbf16ps(1, 2, 4);
    }
    b += kTileValues * panel_columns;
  }
  if (p < row_values) {
    _tile_loadd(5, a + p, a_stride);
    _tile_loadd(6, b, b_stride);
    _tile_dpbf16ps(0, 5, 6);
    if constexpr (kTwo) {
      _tile_loadd(7, b + kTileValues, b_stride);
      _tile_dpbf16ps(1, 5, 7);
    }
  }
  alignas(64) float sums[kTileRows * kLanes];
  _tile_stored(0, sums, kTileBytes);
  Store(args, sums, row, rows, column);
  if constexpr (kTwo) {
    _tile_stored(1, sums, kTileBytes);
    Store(args, sums, row, rows, column + kLanes);
  }
}

void Rows(const HalfGemmArgs& args, int64_t row, int64_t end) {
  const uint16_t* panel = args.packed;
  for (int64_t first = 0; first < args.n; first += kPanelColumns) {
    const int64_t left = HalfPaddedColumns(args.n) - first;
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
    panel += HalfRowValues(args.k) * columns;
  }
}

/// For any number of rows: a tile sums in another order than BF16's instruction, and a row's bits
/// must not depend on its batch.
void Gemm(const HalfGemmArgs& args) {
  const int64_t rest = HalfRowValues(args.k) % kTileValues;
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

const HalfKernels kHalfAmx = {.gemm_bfloat16 = Gemm};

}  // namespace verdict::cpu
