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
#include <cmath>
#include <cstring>

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

void RankFeaturesImpl(const TreeRankArgs& args) {
  for (size_t t = 0; t < args.num_tables; ++t) {
    const TreeKeyTable& table = args.tables[t];
    const float* const keys = args.keys + table.first_key;
    const float* x = args.x + table.feature;
    for (size_t row = 0; row < args.rows; ++row, x += args.x_stride) {
      size_t rank = 0;
      if (table.num_blocks == 1) {
        rank = CountBelow(keys, *x);
      } else {
        // Of 16 blocks the last ends with infinity: below is at most 15.
        const size_t below = CountBelow(keys, *x);
        rank = below * kTreeKeyBlock + CountBelow(keys + (below + 1) * kTreeKeyBlock, *x);
      }
      const auto byte = static_cast<int8_t>(static_cast<int>(rank) - 128);
      int8_t* const ranks = args.ranks + row * args.row_stride;
      if (table.column_nan_low != kNoTreeColumn) {
        ranks[table.column_nan_low * args.column_stride] = byte;
      }
      if (table.column_nan_high != kNoTreeColumn) {
        ranks[table.column_nan_high * args.column_stride] = std::isnan(*x) ? int8_t{127} : byte;
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

void AddLeafWeightsImpl(const float* weights, size_t num_leaves, const uint8_t* leaves,
                        float* sums) {
  (void)num_leaves;
  for (size_t row = 0; row < kTreeRows; ++row) sums[row] += weights[leaves[row]];
}

}  // namespace
}  // namespace verdict::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace verdict::cpu {

HWY_EXPORT(RankFeaturesImpl);
HWY_EXPORT(FindLeavesImpl);
HWY_EXPORT(AddLeafWeightsImpl);

void RankFeatures(const TreeRankArgs& args) { HWY_DYNAMIC_DISPATCH(RankFeaturesImpl)(args); }

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

void AddLeafWeights(const float* weights, size_t num_leaves, const uint8_t* leaves, float* sums) {
  HWY_DYNAMIC_DISPATCH(AddLeafWeightsImpl)(weights, num_leaves, leaves, sums);
}

}  // namespace verdict::cpu
#endif  // HWY_ONCE
