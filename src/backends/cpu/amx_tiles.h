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

/// Rows by kTiles times 16 columns. Dots has what differs: Sum, the type of a sum; Whole<i>() and
/// Rest<i>(), tile i += products of tiles 4 and 5, or 7 and 6, whose instructions take literals
/// only. store(sums [rows][16], i): of the i-th 16 columns. a: where the rows begin, row_bytes
/// apart.
template <typename Dots, int kTiles, typename Store>
static void AmxBlock(const std::byte* a, int64_t row_bytes, const std::byte* b,
                     const Store& store) {
  constexpr int64_t kStride = kTiles * kTileBytes;  // of the panel's weights
  _tile_zero(0);
  if constexpr (kTiles > 1) _tile_zero(1);
  if constexpr (kTiles > 2) _tile_zero(2);
  if constexpr (kTiles > 3) _tile_zero(3);
  int64_t p = 0;
  for (; p + kTileBytes <= row_bytes; p += kTileBytes, b += kTileRows * kStride) {
    _tile_loadd(4, a + p, row_bytes);
    _tile_loadd(5, b, kStride);
    Dots::template Whole<0>();
    if constexpr (kTiles > 1) {
      _tile_loadd(5, b + kTileBytes, kStride);
      Dots::template Whole<1>();
    }
    if constexpr (kTiles > 2) {
      _tile_loadd(5, b + 2 * kTileBytes, kStride);
      Dots::template Whole<2>();
    }
    if constexpr (kTiles > 3) {
      _tile_loadd(5, b + 3 * kTileBytes, kStride);
      Dots::template Whole<3>();
    }
  }
  if (p < row_bytes) {
    _tile_loadd(7, a + p, row_bytes);
    _tile_loadd(6, b, kStride);
    Dots::template Rest<0>();
    if constexpr (kTiles > 1) {
      _tile_loadd(6, b + kTileBytes, kStride);
      Dots::template Rest<1>();
    }
    if constexpr (kTiles > 2) {
      _tile_loadd(6, b + 2 * kTileBytes, kStride);
      Dots::template Rest<2>();
    }
    if constexpr (kTiles > 3) {
      _tile_loadd(6, b + 3 * kTileBytes, kStride);
      Dots::template Rest<3>();
    }
  }
  alignas(64) typename Dots::Sum sums[kTileRows * 16];
  _tile_stored(0, sums, kTileBytes);
  store(sums, 0);
  if constexpr (kTiles > 1) {
    _tile_stored(1, sums, kTileBytes);
    store(sums, 1);
  }
  if constexpr (kTiles > 2) {
    _tile_stored(2, sums, kTileBytes);
    store(sums, 2);
  }
  if constexpr (kTiles > 3) {
    _tile_stored(3, sums, kTileBytes);
    store(sums, 3);
  }
}

/// A product [m, n] in blocks. store(sums, first row, rows, column): a tile of sums.
template <typename Dots, typename Store>
static void AmxGemm(const void* a, int64_t m, int64_t padded_columns, int64_t row_bytes,
                    const void* packed, const Store& store) {
  ForEachBlock(
      m, padded_columns, row_bytes, static_cast<const std::byte*>(packed),
      [&](int64_t row, int64_t rows, int64_t columns, int64_t first, const std::byte* panel) {
        const std::byte* from = static_cast<const std::byte*>(a) + row * row_bytes;
        const auto store_tile = [&](const typename Dots::Sum* sums, int tile) {
          store(sums, row, rows, first + 16 * tile);
        };
        switch (columns / 16) {
          case 1:
            return AmxBlock<Dots, 1>(from, row_bytes, panel, store_tile);
          case 2:
            return AmxBlock<Dots, 2>(from, row_bytes, panel, store_tile);
          case 3:
            return AmxBlock<Dots, 3>(from, row_bytes, panel, store_tile);
          default:
            return AmxBlock<Dots, 4>(from, row_bytes, panel, store_tile);
        }
      });
}

}  // namespace verdict::cpu
