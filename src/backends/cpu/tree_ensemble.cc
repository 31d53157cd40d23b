#include "ops/tree_ensemble.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "backends/cpu/tactics.h"
#include "backends/cpu/tree_kernels.h"
#include "backends/cpu/tree_packing.h"
#include "backends/cpu/tree_walk.h"
#include "base/checked_math.h"

namespace verdict::cpu {
namespace {

/// From here on blending all nodes for many rows is faster than walking each row.
constexpr size_t kMinRowsToBlend = 12;
constexpr size_t kSlotBytes = 256 * kTreeRows;
/// Trees too large to blend are read from memory once for so many rows.
constexpr size_t kWalkedRows = 256;
/// Bytes of nodes that stay in a core's second cache while all those rows walk in them.
constexpr size_t kWalkedBytes = size_t{256} << 10;

TreeAggregate AggregateOf(const KernelContext& context) {
  TreeAggregate aggregate{};
  VERDICT_CHECK(ReadTreeAggregate(context.attributes(), &aggregate));
  return aggregate;
}

/// Scratch: slots, walks that are under way, ranks, scores [targets, rows], which of them were
/// touched; for the rows that are scored together.
struct Scratch {
  size_t leaves, open, ranks, scores, touched, bytes = 0;
  bool fits;

  Scratch(size_t all_rows, size_t trees, size_t columns, size_t targets) : leaves(kSlotBytes) {
    const size_t rows = all_rows <= kTreeRows ? kTreeRows : kWalkedRows;
    open = AlignUp(leaves + (trees + kTreeLanes) * sizeof(uint32_t), 64);
    ranks = AlignUp(open + (trees + kTreeLanes) * sizeof(uint32_t), 64);
    scores = AlignUp(ranks + columns * rows, 64);
    size_t score_bytes = 0;
    fits = CheckedMul(targets, rows * (sizeof(double) + 1), &score_bytes) &&
           CheckedAdd(scores, score_bytes, &bytes);
    touched = scores + targets * rows * sizeof(double);
  }
};

template <typename TWeight, typename TChild>
class Kernel {
 public:
  Kernel(const KernelContext& context, const TreeParts& parts)
      : counts_(parts.counts),
        tables_(TreeParts::At<TreeKeyTable>(context.packed, parts.tables)),
        keys_(TreeParts::At<float>(context.packed, parts.keys)),
        trees_(TreeParts::At<TreeSpan>(context.packed, parts.trees), counts_.num_trees),
        nodes_(TreeParts::At<TreeNode<TChild>>(context.packed, parts.nodes)),
        weights_(TreeParts::At<TWeight>(context.packed, parts.leaves)),
        leaves_(TreeParts::At<int32_t>(context.packed, parts.leaves)),
        leaf_offsets_(context.in<int32_t>(kTreeLeafOffsets).data()),
        leaf_targets_(context.in<int32_t>(kTreeLeafTargets).data()),
        leaf_weights_(context.in<TWeight>(kTreeLeafWeights).data()),
        base_values_(context.in<TWeight>(kTreeBaseValues)),
        x_(context.in<float>(kTreeX).data()),
        features_(static_cast<size_t>(context.inputs[kTreeX].shape[1])),
        y_(context.out<float>(0)),
        targets_(static_cast<size_t>(context.outputs[0].shape[1])),
        aggregate_(AggregateOf(context)),
        adds_(counts_.simple_leaves != 0 && aggregate_ <= TreeAggregate::kAverage) {
    const auto rows = static_cast<size_t>(context.inputs[kTreeX].shape[0]);
    if (sizeof(TChild) > 1 && rows > kTreeRows) block_rows_ = kWalkedRows;
    const Scratch scratch(rows, trees_.size(), counts_.num_columns, targets_);
    slots_ = context.Scratch<uint8_t>(kSlotBytes).data();
    ranks_ = context.Scratch<int8_t>(counts_.num_columns * block_rows_, scratch.ranks).data();
    scores_ = context.Scratch<TWeight>(targets_ * block_rows_, scratch.scores);
    touched_ = context.Scratch<uint8_t>(targets_ * block_rows_, scratch.touched);
    walk_leaves_ = context.Scratch<TChild>(trees_.size() + kTreeLanes, scratch.leaves).data();
    walk_open_ = context.Scratch<uint32_t>(trees_.size() + kTreeLanes, scratch.open).data();
  }

  void Run(size_t rows) {
    if (sizeof(TChild) == 1 && rows >= kMinRowsToBlend) FillLeafSlots(slots_);
    for (size_t first = 0; first < rows; first += block_rows_) {
      const size_t count = std::min(block_rows_, rows - first);
      std::ranges::fill(scores_, TWeight(0));
      std::ranges::fill(touched_, uint8_t{0});
      const bool blend = sizeof(TChild) == 1 && count >= kMinRowsToBlend;
      TreeRankArgs rank = {.tables = tables_,
                           .num_tables = counts_.num_tables,
                           .keys = keys_,
                           .x = x_ + first * features_,
                           .x_stride = features_};
      if (blend) {
        RankRows(rank, count, ranks_);
        BlendRows(count);
      } else {
        for (size_t row = 0; row < count; ++row, rank.x += features_) {
          RankRow(rank, ranks_ + row * counts_.num_columns);
        }
        if (count >= kTreeLanes) {
          WalkManyRows(count);
        } else {
          for (size_t row = 0; row < count; ++row) WalkOneRow(row);
        }
      }
      Store(first, count);
    }
  }

 private:
  void BlendRows(size_t count) {
    if constexpr (sizeof(TChild) == 1) {
      for (const TreeSpan& tree : trees_) {
        const uint8_t* const leaves =
            FindLeaves(nodes_ + tree.first_node, tree.num_nodes, ranks_, count, slots_);
        if constexpr (std::is_same_v<TWeight, float>) {
          if (adds_) {
            AddLeafWeights(weights_ + tree.first_leaf, tree.num_leaves, leaves, count,
                           scores_.data() + tree.target * kTreeRows);
            continue;
          }
        }
        for (size_t row = 0; row < count; ++row) AddLeaf(tree, leaves[row], row);
      }
    }
  }

  /// A few trees at a time, so that their nodes are read from memory once.
  void WalkManyRows(size_t count) {
    for (auto tree = trees_.begin(); tree != trees_.end();) {
      auto end = tree;
      while (end != trees_.end() &&
             (end->first_node - tree->first_node) * sizeof(*nodes_) < kWalkedBytes) {
        ++end;
      }
      for (size_t first = 0; first < count; first += kTreeLanes)
        WalkLanes({tree, end}, first, count);
      tree = end;
    }
  }

  void WalkLanes(std::span<const TreeSpan> trees, size_t first, size_t count) {
    std::array<const int8_t*, kTreeLanes> ranks;
    for (size_t i = 0; i < kTreeLanes; ++i) {
      ranks[i] = ranks_ + std::min(first + i, count - 1) * counts_.num_columns;
    }
    for (const TreeSpan& tree : trees) {
      if (first == 0) Prefetch((&tree)[1]);  // the list is padded
      const auto leaves = WalkRows<TChild>(nodes_ + tree.first_node, counts_.first_steps, ranks);
      for (size_t i = 0; i < std::min(kTreeLanes, count - first); ++i) {
        AddLeaf(tree, LeafOf(leaves[i]), first + i);
      }
    }
  }

  /// Asks for all of a tree that many rows are about to walk in: they would ask line by line.
  void Prefetch(const TreeSpan& tree) const {
    constexpr size_t kLine = 64;
    const auto ask = [](const auto* from, size_t count) {
      const auto* const bytes = reinterpret_cast<const std::byte*>(from);
      for (size_t at = 0; at < count * sizeof(*from); at += kLine) __builtin_prefetch(bytes + at);
    };
    ask(nodes_ + tree.first_node, tree.num_nodes);
    ask(weights_ + tree.first_leaf, tree.num_leaves);
  }

  void WalkOneRow(size_t row) {
    WalkTrees<TChild>(trees_.data(), trees_.size(), nodes_, ranks_ + row * counts_.num_columns,
                      counts_.first_steps, walk_leaves_, walk_open_);
    const auto leaf = [&](size_t tree) { return LeafOf(walk_leaves_[tree]); };
    if (adds_ && targets_ == 1) {
      TWeight sum = 0;
      for (size_t i = 0; i < trees_.size(); ++i) sum += weights_[trees_[i].first_leaf + leaf(i)];
      scores_[row] = sum;
      return;
    }
    for (size_t i = 0; i < trees_.size(); ++i) AddLeaf(trees_[i], leaf(i), row);
  }

  static uint32_t LeafOf(TChild child) {
    return child & static_cast<TChild>(~TreeNode<TChild>::kLeaf);
  }

  void AddLeaf(const TreeSpan& tree, uint32_t leaf, size_t row) {
    if (adds_) {
      scores_[tree.target * block_rows_ + row] += weights_[tree.first_leaf + leaf];
      return;
    }
    if (counts_.simple_leaves != 0) {
      return Add(weights_[tree.first_leaf + leaf], tree.target * block_rows_ + row);
    }
    const int32_t id = leaves_[tree.first_leaf + leaf];
    for (int32_t i = leaf_offsets_[id]; i < leaf_offsets_[id + 1]; ++i) {
      Add(leaf_weights_[i], static_cast<size_t>(leaf_targets_[i]) * block_rows_ + row);
    }
  }

  void Add(TWeight weight, size_t index) {
    AddTreeWeight(aggregate_, weight, scores_[index], touched_[index]);
  }

  void Store(size_t first, size_t count) {
    for (size_t row = 0; row < count; ++row) {
      for (size_t target = 0; target < targets_; ++target) {
        TWeight score = scores_[target * block_rows_ + row];
        if (aggregate_ == TreeAggregate::kAverage) score /= static_cast<TWeight>(trees_.size());
        if (!base_values_.empty()) score += base_values_[target];
        y_[(first + row) * targets_ + target] = static_cast<float>(score);
      }
    }
  }

  TreeHeader counts_;
  const TreeKeyTable* tables_;
  const float* keys_;
  std::span<const TreeSpan> trees_;
  const TreeNode<TChild>* nodes_;
  const TWeight* weights_;  // of simple leaves
  const int32_t* leaves_;   // of others
  const int32_t* leaf_offsets_;
  const int32_t* leaf_targets_;
  const TWeight* leaf_weights_;
  std::span<const TWeight> base_values_;
  const float* x_;
  size_t features_;
  std::span<float> y_;
  size_t targets_;
  TreeAggregate aggregate_;
  bool adds_;                      // every leaf has one weight, which is added
  size_t block_rows_ = kTreeRows;  // scored together
  uint8_t* slots_;
  TChild* walk_leaves_;
  uint32_t* walk_open_;
  int8_t* ranks_;
  std::span<TWeight> scores_;
  std::span<uint8_t> touched_;
};

template <typename TWeight>
void RunTrees(const KernelContext& context, const TreeParts& parts) {
  const auto rows = static_cast<size_t>(context.inputs[kTreeX].shape[0]);
  switch (parts.counts.child_bytes) {
    case 1:
      return Kernel<TWeight, uint8_t>(context, parts).Run(rows);
    case 2:
      return Kernel<TWeight, uint16_t>(context, parts).Run(rows);
    default:
      return Kernel<TWeight, uint32_t>(context, parts).Run(rows);
  }
}

Status Run(KernelContext& context) {
  TreeHeader header;
  std::memcpy(&header, context.packed.data(), sizeof header);
  const TreeParts parts(header);
  if (header.double_weights != 0) {
    RunTrees<double>(context, parts);
  } else {
    RunTrees<float>(context, parts);
  }
  return OkStatus();
}

size_t ScratchBytes(const Node& node, std::span<const TensorView> inputs,
                    std::span<const TensorView> outputs) {
  const Scratch scratch(static_cast<size_t>(inputs[kTreeX].shape[0]),
                        static_cast<size_t>(inputs[kTreeRoots].shape[0]),
                        MaxTreeColumns(node, inputs), static_cast<size_t>(outputs[0].shape[1]));
  return scratch.fits ? scratch.bytes : SIZE_MAX / 2;  // what no machine has
}

}  // namespace

const Tactic kTreeEnsemble = {.id = "cpu/tree_ensemble",
                              .op = "TreeEnsemble",
                              .accepts = CanPackTrees,
                              .pack = PackTrees,
                              .packed_bytes = PackedTreesBytes,
                              .check_packed = CheckPackedTrees,
                              .run = Run,
                              .scratch_bytes = ScratchBytes};

}  // namespace verdict::cpu
