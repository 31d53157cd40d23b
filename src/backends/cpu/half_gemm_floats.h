#pragma once

#include "backends/cpu/half_gemm.h"

namespace verdict::cpu {

/// Products on processors that have none of half precision: factors are converted to float32.
///
/// Two values of k lie side by side in packed weights, and are summed apart: `even` and `odd` for
/// bfloat16; lanes of the lower and the upper half of the columns, in turns even and odd, for
/// float16, as the conversion's instruction leaves them. Sums are of up to kBlock products, then
/// of those, kept in c. (To convert weights once for many rows is no faster: tiles of six rows
/// spread it enough.)
///
/// Vector: one instruction set's vectors, of a type inside an unnamed namespace, so that nothing
/// made of it is shared between files that are compiled for different sets.
template <typename Vector, HalfType kType>
class FloatLoops {
 public:
  static void Gemm(const HalfGemmArgs& args) {
    const int64_t row_values = HalfRowValues(args.k);
    const uint16_t* panel = args.packed;
    for (int64_t first = 0; first < args.n; first += kPanelColumns) {
      const int64_t left = HalfPaddedColumns(args.n) - first;
      const int64_t columns = left < kPanelColumns ? left : kPanelColumns;
      int64_t begin = 0;
      do {  // once if k is 0
        const int64_t rest = row_values - begin;
        const Block block{begin, rest < kBlock ? rest : kBlock, first, columns};
        AllRows(args, block, panel + begin * columns);
        begin += kBlock;
      } while (begin < row_values);
      panel += row_values * columns;
    }
  }

 private:
  using F = typename Vector::F;
  static constexpr int64_t kLanes = Vector::kLanes;
  static constexpr int64_t kPanelColumns = 64;
  static constexpr int64_t kBlock = 256;
  static constexpr int64_t kPrefetchValues = 1024;

  /// `values` of k from `begin` on, by a panel's columns.
  struct Block {
    int64_t begin, values, first, columns;
  };

  static void Load(const uint16_t* from, F& low, F& high) {
    if constexpr (kType == HalfType::kBFloat16) {
      Vector::LoadBFloat16(from, low, high);
    } else {
      Vector::LoadFloat16(from, low, high);
    }
  }

  /// In tiles of like height: low ones have too few sums to hide an instruction's latency.
  static void AllRows(const HalfGemmArgs& args, const Block& block, const uint16_t* weights) {
    int64_t rows = 0;
    for (int64_t row = 0; row < args.m; row += rows) {
      const int64_t tiles = (args.m - row + Vector::kMaxRows - 1) / Vector::kMaxRows;
      rows = (args.m - row + tiles - 1) / tiles;
      Rows<Vector::kMaxRows>(args, block, weights, rows, row);
    }
  }

  /// As many rows as `rows` says, up to kRows.
  template <int kRows>
  static void Rows(const HalfGemmArgs& args, const Block& block, const uint16_t* weights,
                   int64_t rows, int64_t row) {
    if constexpr (kRows > 1) {
      if (rows < kRows) return Rows<kRows - 1>(args, block, weights, rows, row);
    }
    alignas(64) float a[kRows * kBlock];
    for (int r = 0; r < kRows; ++r) {
      const uint16_t* from = args.a + (row + r) * HalfRowValues(args.k) + block.begin;
      for (int64_t p = 0; p < block.values; p += kLanes) {
        Vector::Store(a + r * kBlock + p,
                      Vector::template Widen<kType>(from + p, block.values - p));
      }
    }
    constexpr int kWide = kRows <= Vector::kMaxRows / 3 ? 4 : 2;  // vectors of a tile
    int64_t at = 0;
    for (; at + kWide * kLanes <= block.columns; at += kWide * kLanes) {
      Tile<kRows, kWide>(args, block, a, weights, row, at);
    }
    for (; at < block.columns; at += kLanes) Tile<kRows, 1>(args, block, a, weights, row, at);
  }

  template <int kRows, int kWide>
  static void Tile(const HalfGemmArgs& args, const Block& block, const float* a,
                   const uint16_t* weights, int64_t row, int64_t at) {
    F sums[kRows][2 * kWide];
    for (int r = 0; r < kRows; ++r) {
      for (int v = 0; v < 2 * kWide; ++v) sums[r][v] = Vector::Zero();
    }
    weights += at * 2;
    for (int64_t p = 0; p < block.values; p += 2) {
      F w[2 * kWide];
      for (int v = 0; v < kWide; ++v) {
        const uint16_t* from = weights + v * 2 * kLanes;
        Load(from, w[2 * v], w[2 * v + 1]);
        if constexpr (kRows == 1) __builtin_prefetch(from + kPrefetchValues);
      }
      weights += block.columns * 2;
      for (int r = 0; r < kRows; ++r) {
        F low, high;
        if constexpr (kType == HalfType::kBFloat16) {
          low = Vector::Set(a[r * kBlock + p]);
          high = Vector::Set(a[r * kBlock + p + 1]);
        } else {
          low = high = Vector::SetPair(a + r * kBlock + p);
        }
        for (int v = 0; v < kWide; ++v) {
          sums[r][2 * v] = Vector::MulAdd(low, w[2 * v], sums[r][2 * v]);
          sums[r][2 * v + 1] = Vector::MulAdd(high, w[2 * v + 1], sums[r][2 * v + 1]);
        }
      }
    }
    for (int r = 0; r < kRows; ++r) {
      for (int v = 0; v < kWide; ++v) {
        F sum;
        if constexpr (kType == HalfType::kBFloat16) {
          sum = Vector::Add(sums[r][2 * v], sums[r][2 * v + 1]);
        } else {
          sum = Vector::AddNeighbours(sums[r][2 * v], sums[r][2 * v + 1]);
        }
        Finish(args, block, sum, row + r, block.first + at + v * kLanes);
      }
    }
  }

  static void Finish(const HalfGemmArgs& args, const Block& block, F sum, int64_t row,
                     int64_t column) {
    float* c = args.c + row * args.ldc + column;
    const int64_t count = args.n - column;
    const bool is_first = block.begin == 0;
    if (is_first && args.bias != nullptr) sum = Vector::Add(sum, Vector::Load(args.bias + column));
    if (!is_first || args.accumulate) sum = Vector::Add(sum, Vector::LoadFirst(c, count));
    if (args.relu && block.begin + kBlock >= args.k) sum = Vector::Relu(sum);
    Vector::StoreFirst(c, sum, count);
  }
};

}  // namespace verdict::cpu
