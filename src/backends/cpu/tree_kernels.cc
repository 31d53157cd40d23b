// Compiled once per instruction set, as gemm.cc.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/tree_kernels.cc"
#define HWY_BROKEN_EMU128 1
#define HWY_DISABLED_TARGETS (HWY_AVX3_DL | HWY_SSSE3 | HWY_SSE4)
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// After foreach_target.h.
#include <hwy/highway.h>
#include "backends/cpu/tree_kernels.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

HWY_BEFORE_NAMESPACE();
namespace verdict::cpu::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using KeyTag = hn::CappedTag<float, kTreeKeyBlock>;
using LeafTag = hn::CappedTag<uint8_t, kTreeRows>;
using RankTag = hn::CappedTag<int8_t, kTreeRows>;
using SumTag = hn::CappedTag<float, kTreeKeyBlock>;

constexpr size_t kRankLanes = hn::MaxLanes(RankTag());

/// How many keys of a block lie below x; none if x is NaN.
HWY_INLINE size_t CountBelow(const float* block, float x) {
  const KeyTag d;
  const auto value = hn::Set(d, x);
  size_t count = 0;
  for (size_t i = 0; i < kTreeKeyBlock; i += hn::MaxLanes(d)) {
    count += hn::CountTrue(d, hn::Lt(hn::LoadU(d, block + i), value));
  }
  return count;
}

int8_t RankOf(size_t keys_below) { return static_cast<int8_t>(static_cast<int>(keys_below) - 128); }

/// One row's ranks, a column after the other.
void RankRowImpl(const TreeRankArgs& args, int8_t* ranks) {
  for (size_t t = 0; t < args.num_tables; ++t) {
    const TreeKeyTable& table = args.tables[t];
    const float* const keys = args.keys + table.first_key;
    const float x = args.x[table.feature];
    size_t below = CountBelow(keys, x);
    if (table.num_blocks > 1) {
      // Of 16 blocks the last ends with infinity: below is at most 15.
      below = below * kTreeKeyBlock + CountBelow(keys + (below + 1) * kTreeKeyBlock, x);
    }
    const int8_t rank = RankOf(below);
    if (table.column_nan_low != kNoTreeColumn) ranks[table.column_nan_low] = rank;
    if (table.column_nan_high != kNoTreeColumn) {
      ranks[table.column_nan_high] = std::isnan(x) ? int8_t{127} : rank;
    }
  }
}

/// counts[r] = how many keys of the block lie below x[r], for kTreeRows rows.
HWY_INLINE void CountBelowInRows(const float* block, const float* x, int32_t* counts) {
  const KeyTag d;
  const hn::RebindToSigned<KeyTag> d_count;
  constexpr size_t kLanes = hn::MaxLanes(KeyTag());
  for (size_t row = 0; row < kTreeRows; row += 2 * kLanes) {
    const auto x0 = hn::Load(d, x + row), x1 = hn::Load(d, x + row + kLanes);
    auto count0 = hn::Zero(d_count), count1 = count0;
    for (size_t i = 0; i < kTreeKeyBlock && block[i] < std::numeric_limits<float>::infinity();
         ++i) {
      const auto key = hn::Set(d, block[i]);
      // A mask is -1 as a number.
      count0 = hn::Sub(count0, hn::BitCast(d_count, hn::VecFromMask(d, hn::Lt(key, x0))));
      count1 = hn::Sub(count1, hn::BitCast(d_count, hn::VecFromMask(d, hn::Lt(key, x1))));
    }
    hn::Store(count0, d_count, counts + row);
    hn::Store(count1, d_count, counts + row + kLanes);
  }
}

void RankRowsImpl(const TreeRankArgs& args, size_t rows, int8_t* ranks) {
  alignas(64) std::array<float, kTreeRows> x{};
  alignas(64) std::array<int32_t, kTreeRows> below;
  for (size_t t = 0; t < args.num_tables; ++t) {
    const TreeKeyTable& table = args.tables[t];
    const float* const keys = args.keys + table.first_key;
    const float* from = args.x + table.feature;
    for (size_t row = 0; row < rows; ++row, from += args.x_stride) x[row] = *from;
    CountBelowInRows(keys, x.data(), below.data());
    if (table.num_blocks > 1) {
      for (size_t row = 0; row < rows; ++row) {
        const auto block = static_cast<size_t>(below[row]);
        below[row] = static_cast<int32_t>(block * kTreeKeyBlock +
                                          CountBelow(keys + (block + 1) * kTreeKeyBlock, x[row]));
      }
    }
    if (table.column_nan_low != kNoTreeColumn) {
      int8_t* const to = ranks + table.column_nan_low * kTreeRows;
      for (size_t row = 0; row < kTreeRows; ++row) to[row] = static_cast<int8_t>(below[row] - 128);
    }
    if (table.column_nan_high != kNoTreeColumn) {
      int8_t* const to = ranks + table.column_nan_high * kTreeRows;
      for (size_t row = 0; row < kTreeRows; ++row) {
        to[row] = static_cast<int8_t>(std::isnan(x[row]) ? 127 : below[row] - 128);
      }
    }
  }
}

template <size_t kVectors>
HWY_INLINE void Blend(const TreeNode<uint8_t>* nodes, size_t count, const int8_t* ranks,
                      uint8_t* slots) {
  const RankTag d;
  const LeafTag d_leaf;
  for (size_t i = count; i-- > 0;) {
    const TreeNode<uint8_t> node = nodes[i];
    const auto cut = hn::Set(d, node.cut);
    const int8_t* const rank = ranks + node.column * kTreeRows;
    const uint8_t* const low = slots + node.children[0] * kTreeRows;
    const uint8_t* const high = slots + node.children[1] * kTreeRows;
    uint8_t* const to = slots + i * kTreeRows;
    for (size_t v = 0; v < kVectors * kRankLanes; v += kRankLanes) {
      const auto above = hn::RebindMask(d_leaf, hn::Gt(hn::Load(d, rank + v), cut));
      hn::Store(hn::IfThenElse(above, hn::Load(d_leaf, high + v), hn::Load(d_leaf, low + v)),
                d_leaf, to + v);
    }
  }
}

void FindLeavesImpl(const TreeNode<uint8_t>* nodes, size_t count, const int8_t* ranks, size_t rows,
                    uint8_t* slots) {
  constexpr size_t kAll = kTreeRows / kRankLanes;
  if (kAll > 1 && rows <= kTreeRows / 2) return Blend<(kAll + 1) / 2>(nodes, count, ranks, slots);
  Blend<kAll>(nodes, count, ranks, slots);
}

/// With a table of weights in kVectors registers.
template <size_t kVectors>
HWY_INLINE void AddFromRegisters(const float* weights, const uint8_t* leaves, float* sums) {
  const SumTag d;
  const hn::RebindToSigned<SumTag> d_index;
  const hn::Rebind<uint8_t, SumTag> d_leaf;
  constexpr size_t kLanes = hn::MaxLanes(SumTag());
  std::array<hn::Vec<SumTag>, kVectors> table;
  for (size_t v = 0; v < kVectors; ++v) table[v] = hn::LoadU(d, weights + v * kLanes);
  for (size_t row = 0; row < kTreeRows; row += kLanes) {
    const auto leaf = hn::PromoteTo(d_index, hn::Load(d_leaf, leaves + row));
    const auto lane =
        hn::IndicesFromVec(d, hn::And(leaf, hn::Set(d_index, static_cast<int32_t>(kLanes - 1))));
    auto weight = hn::TableLookupLanes(table[0], lane);
    for (size_t v = 1; v < kVectors; ++v) {
      const auto is_here =
          hn::RebindMask(d, hn::Gt(leaf, hn::Set(d_index, static_cast<int32_t>(v * kLanes - 1))));
      weight = hn::IfThenElse(is_here, hn::TableLookupLanes(table[v], lane), weight);
    }
    hn::Store(hn::Add(hn::Load(d, sums + row), weight), d, sums + row);
  }
}

void AddLeafWeightsImpl(const float* weights, size_t num_leaves, const uint8_t* leaves, size_t rows,
                        float* sums) {
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX2
  constexpr size_t kLanes = hn::MaxLanes(SumTag());
  if (num_leaves <= kLanes) return AddFromRegisters<1>(weights, leaves, sums);
  if (num_leaves <= 2 * kLanes) return AddFromRegisters<2>(weights, leaves, sums);
  if (num_leaves <= 4 * kLanes) return AddFromRegisters<4>(weights, leaves, sums);
#else
  (void)num_leaves;
#endif
  for (size_t row = 0; row < rows; ++row) sums[row] += weights[leaves[row]];
}

}  // namespace
}  // namespace verdict::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace verdict::cpu {

HWY_EXPORT(RankRowImpl);
HWY_EXPORT(RankRowsImpl);
HWY_EXPORT(FindLeavesImpl);
HWY_EXPORT(AddLeafWeightsImpl);

void RankRow(const TreeRankArgs& args, int8_t* ranks) {
  HWY_DYNAMIC_DISPATCH(RankRowImpl)(args, ranks);
}

void RankRows(const TreeRankArgs& args, size_t rows, int8_t* ranks) {
  HWY_DYNAMIC_DISPATCH(RankRowsImpl)(args, rows, ranks);
}

const uint8_t* FindLeaves(const TreeNode<uint8_t>* nodes, size_t count, const int8_t* ranks,
                          size_t rows, uint8_t* slots) {
  HWY_DYNAMIC_DISPATCH(FindLeavesImpl)(nodes, count, ranks, rows, slots);
  return slots;
}

void FillLeafSlots(uint8_t* slots) {
  for (size_t leaf = 0; leaf < 128; ++leaf) {
    std::memset(slots + (128 + leaf) * kTreeRows, static_cast<int>(leaf), kTreeRows);
  }
}

void AddLeafWeights(const float* weights, size_t num_leaves, const uint8_t* leaves, size_t rows,
                    float* sums) {
  HWY_DYNAMIC_DISPATCH(AddLeafWeightsImpl)(weights, num_leaves, leaves, rows, sums);
}

}  // namespace verdict::cpu
#endif  // HWY_ONCE
