#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "ir/graph.h"

namespace verdict::cpu {

// An ensemble in the narrowest types that keep every comparison exact.
//
// Whatever a node's mode and the type of its split, it asks "x <= key?" of a float32 key: for a
// float32 x, x < 0.1 (a double) is x <= the greatest float32 below 0.1. A node that asks for
// equality becomes two. What a row's feature is to all keys of the ensemble is told by its rank,
// how many of the feature's keys lie below it: x <= keys[j] if and only if rank <= j. So a row's
// ranks are found once, and nodes compare bytes.
//
// A key table holds up to 255 keys of one feature; a feature with more has more tables, in each of
// which a rank ends at 0 or 255. NaN is below all keys for the nodes that send it to the lower side
// and above all keys for the others: a table has up to two columns of ranks, one for each.

inline constexpr int kMaxTreeKeys = 255;  // of one table
inline constexpr int kTreeKeyBlock = 16;  // keys are padded with infinity to whole blocks
inline constexpr uint32_t kNoTreeColumn = ~uint32_t{0};

/// Walks in flight, so that one goes on while another waits for memory: none of their steps is a
/// branch that could be guessed wrong. The list of trees is padded with so many less one.
inline constexpr size_t kTreeLanes = 12;

/// Leaves may be read in whole vectors: the list of them is padded.
inline constexpr size_t kTreeLeafPadding = 64;

struct TreeKeyTable {
  uint32_t feature;
  uint32_t column_nan_low, column_nan_high;  // or kNoTreeColumn
  /// With more than one block, a block of the last keys of each block comes first.
  uint32_t first_key;
  uint32_t num_blocks;  // 1 to 16
};

struct TreeSpan {
  uint32_t first_node, num_nodes;  // the root is the first
  uint32_t first_leaf, num_leaves;
  uint32_t target;  // of simple leaves
};

/// A child with its highest bit set is leaf `child` without that bit, of the same tree; otherwise
/// it is a later node of the tree.
template <typename TChild>
struct [[gnu::packed]] TreeNode {
  uint16_t column;
  int8_t cut;          // key's index - 128, as ranks are: signed bytes compare fastest
  TChild children[2];  // [rank > cut]
  static constexpr TChild kLeaf = static_cast<TChild>(TChild{1} << (8 * sizeof(TChild) - 1));
};

/// Counts and places of a packed ensemble's parts.
struct TreeHeader {
  uint32_t num_tables = 0, num_columns = 0, num_keys = 0, num_trees = 0;
  uint32_t num_nodes = 0, num_leaves = 0;
  uint16_t child_bytes = 1;  // 1, 2 or 4
  /// Each leaf has one weight, and all leaves of a tree one target: leaves are weights. Otherwise
  /// they are numbers of leaves in the node's constants.
  uint8_t simple_leaves = 0;
  uint8_t double_weights = 0;
  /// So many steps a walk takes before it is worth asking whether it has arrived.
  uint32_t first_steps = 1;
};

/// The parts, within packed bytes.
struct TreeParts {
  TreeHeader counts;
  size_t tables, keys, trees, leaves, nodes, bytes;

  explicit TreeParts(const TreeHeader& header);
  template <typename T>
  static const T* At(std::span<const std::byte> packed, size_t offset) {
    return reinterpret_cast<const T*>(packed.data() + offset);
  }
};

/// Bytes of ranks that a row of the node has at most.
size_t MaxTreeColumns(const Node& node, std::span<const TensorView> inputs);

/// OK if the trees can be packed; otherwise why not. Cost, as of the two that follow: O(n log n).
Status CanPackTrees(const Graph& graph, const Node& node);
size_t PackedTreesBytes(const Graph& graph, const Node& node);
Result<std::vector<std::byte>> PackTrees(const Graph& graph, const Node& node);

/// Checks what PackTrees may not have made: every index that kernels follow. Cost: O(nodes).
/// Errors: kDataLoss.
Status CheckPackedTrees(const Graph& graph, const Node& node, std::span<const std::byte> packed);

}  // namespace verdict::cpu
