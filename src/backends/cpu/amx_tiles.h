#pragma once

// Included only by files compiled for AMX. Static, for the reason that int8_gemm_kernels.h gives.

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace verdict::cpu {

// A block is up to 16 rows by up to four times 16 columns, in tiles 0 to 3: four sums under way
// hide how long each takes. Tile 4 holds activations and 5 weights of 64 bytes of k; 7 and 6 the
// same of what is left of k.
constexpr int64_t kTileRows = 16;
constexpr int64_t kTileBytes = 64;  // of a row

/// rows: of sums and activations. rest: bytes of k beyond whole tiles, in groups of four.
static inline void ConfigureTiles(int64_t rows, int64_t rest) {
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
  for (int tile = 0; tile < 5; ++tile) set(tile, rows, kTileBytes);
  set(5, kTileRows, kTileBytes);
  if (rest > 0) {
    set(6, rest / 4, kTileBytes);
    set(7, rows, rest);
  }
  // GCC 12 takes the instruction to read eight bytes alone.
  __asm__ volatile("" : : "r"(&config) : "memory");
  _tile_loadconfig(&config);
}

/// block(first row, rows, columns of the panel, its first column, its weights) for every panel of
/// up to 64 columns and every 16 rows of [m, n]. row_bytes: of a row of activations, and of a
/// column of weights.
template <typename Block>
static void ForEachBlock(int64_t m, int64_t padded_columns, int64_t row_bytes,
                         const std::byte* packed, const Block& block) {
  constexpr int64_t kPanel = 64;
  const auto rows_from = [&](int64_t begin, int64_t end) {
    const std::byte* panel = packed;
    for (int64_t first = 0; first < padded_columns; first += kPanel) {
      const int64_t left = padded_columns - first;
      const int64_t columns = left < kPanel ? left : kPanel;
      for (int64_t row = begin; row < end; row += kTileRows) {
        block(row, end - row < kTileRows ? end - row : kTileRows, columns, first, panel);
      }
      panel += row_bytes * columns;
    }
  };
  const int64_t rest = row_bytes % kTileBytes;
  const int64_t whole = m / kTileRows * kTileRows;
  if (whole > 0) {
    ConfigureTiles(kTileRows, rest);
    rows_from(0, whole);
  }
  if (whole < m) {
    ConfigureTiles(m - whole, rest);
    rows_from(whole, m);
  }
  _tile_release();  // or every switch of threads would save the tiles
}

/// What a block does with the tiles: `DOT` is the intrinsic, a [rows] and b [k / 4 bytes][columns]
/// where the block begins, strides and row_bytes in bytes. The intrinsics take literals only.
#define VERDICT_AMX_STEP(DOT, A, B, OFFSET)         \
  do {                                              \
    _tile_loadd(A, a + (OFFSET), row_bytes);        \
    _tile_loadd(B, b, b_stride);                    \
    DOT(0, A, B);                                   \
    if constexpr (kTiles > 1) {                     \
      _tile_loadd(B, b + kTileBytes, b_stride);     \
      DOT(1, A, B);                                 \
    }                                               \
    if constexpr (kTiles > 2) {                     \
      _tile_loadd(B, b + 2 * kTileBytes, b_stride); \
      DOT(2, A, B);                                 \
    }                                               \
    if constexpr (kTiles > 3) {                     \
      _tile_loadd(B, b + 3 * kTileBytes, b_stride); \
      DOT(3, A, B);                                 \
    }                                               \
    b += kTileRows * b_stride;                      \
  } while (false)

}  // namespace verdict::cpu
