#include <algorithm>
#include <array>
#include <cstring>

#include "backends/cpu/tree_packing.h"
#include "ops/tree_ensemble.h"

namespace verdict::cpu {
namespace {

Status Bad(const char* what) {
  return DataLoss(std::string("packed trees are damaged: ") + what + "; build the engine again");
}

template <typename TChild>
Status CheckNodes(const TreeHeader& counts, std::span<const TreeSpan> trees,
                  const TreeNode<TChild>* nodes) {
  for (const TreeSpan& tree : trees) {
    for (uint32_t i = 0; i < tree.num_nodes; ++i) {
      const TreeNode<TChild>& node = nodes[tree.first_node + i];
      if (node.column >= counts.num_columns) return Bad("a node reads what no table gives");
      for (const uint32_t child : {node.children[0], node.children[1]}) {
        constexpr uint32_t kLeaf = TreeNode<TChild>::kLeaf;
        const bool exists = (child & kLeaf) != 0 ? (child & ~kLeaf) < tree.num_leaves
                                                 : child > i && child < tree.num_nodes;
        if (!exists) return Bad("a child is not there");
      }
    }
  }
  return OkStatus();
}

}  // namespace

Status CheckPackedTrees(const Graph& graph, const Node& node, std::span<const std::byte> packed) {
  TreeHeader counts;
  if (packed.size() < sizeof counts) return Bad("there is no header");
  std::memcpy(&counts, packed.data(), sizeof counts);
  const TreeParts parts(counts);
  if (parts.bytes != packed.size()) return Bad("the parts are not as large as the whole");
  std::array<TensorView, kNumTreeInputs> views;
  for (size_t i = kTreeFeatureIds; i < kNumTreeInputs; ++i) {
    views[i] = graph.constant(node.inputs[i])->view();
  }
  if (counts.num_columns > MaxTreeColumns(node, views) || counts.first_steps == 0 ||
      counts.first_steps > counts.num_nodes ||
      (counts.double_weights != 0) != (views[kTreeLeafWeights].dtype == DataType::kFloat64)) {
    return Bad("the header is of other trees");
  }
  const AttributeReader attributes(node);
  const std::span tables(TreeParts::At<TreeKeyTable>(packed, parts.tables), counts.num_tables);
  for (const TreeKeyTable& table : tables) {
    const size_t blocks = size_t{table.num_blocks} + (table.num_blocks > 1 ? 1 : 0);
    if (int64_t{table.feature} >= attributes.Int("features", 0) || table.num_blocks == 0 ||
        table.num_blocks > kTreeKeyBlock ||
        table.first_key + blocks * kTreeKeyBlock > counts.num_keys) {
      return Bad("a key table is out of range");
    }
    for (const uint32_t column : {table.column_nan_low, table.column_nan_high}) {
      if (column != kNoTreeColumn && column >= counts.num_columns) {
        return Bad("a key table's column is out of range");
      }
    }
  }
  const std::span trees(TreeParts::At<TreeSpan>(packed, parts.trees),
                        size_t{counts.num_trees} + kTreeLanes - 1);
  if (counts.num_trees != views[kTreeRoots].shape[0]) return Bad("trees are missing");
  for (const TreeSpan& tree : trees) {
    if (uint64_t{tree.first_node} + tree.num_nodes > counts.num_nodes || tree.num_nodes == 0 ||
        uint64_t{tree.first_leaf} + tree.num_leaves > counts.num_leaves ||
        int64_t{tree.target} >= attributes.Int("targets", 1)) {
      return Bad("a tree is out of range");
    }
  }
  if (counts.simple_leaves == 0) {
    const std::span leaves(TreeParts::At<int32_t>(packed, parts.leaves), counts.num_leaves);
    const int64_t end = views[kTreeLeafOffsets].shape[0] - 1;
    if (std::ranges::any_of(leaves, [&](int32_t leaf) { return leaf < 0 || leaf >= end; })) {
      return Bad("a leaf is out of range");
    }
  }
  switch (counts.child_bytes) {
    case 1:
      return CheckNodes(counts, trees, TreeParts::At<TreeNode<uint8_t>>(packed, parts.nodes));
    case 2:
      return CheckNodes(counts, trees, TreeParts::At<TreeNode<uint16_t>>(packed, parts.nodes));
    case 4:
      return CheckNodes(counts, trees, TreeParts::At<TreeNode<uint32_t>>(packed, parts.nodes));
    default:
      return Bad("nodes have no such size");
  }
}

}  // namespace verdict::cpu
