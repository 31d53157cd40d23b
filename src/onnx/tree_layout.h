#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"

namespace verdict {

/// An inner node of a decision tree. A child >= 0 is an inner node, a child < 0 is leaf -child - 1.
struct TreeNode {
  int32_t feature = 0;
  double split = 0;
  uint8_t mode = 0;  // as operator TreeEnsemble numbers them
  bool missing_true = false;
  int64_t true_child = 0;
  int64_t false_child = 0;
};

/// What a leaf adds to a target.
struct LeafWeight {
  int64_t leaf = 0;
  int64_t target = 0;
  double weight = 0;
};

/// Decision trees as their file lists them, in any order.
struct Forest {
  std::vector<TreeNode> nodes;
  std::vector<int64_t> roots;  // as children
  int64_t num_leaves = 0;
  std::vector<LeafWeight> weights;  // in the order in which a leaf adds them
};

/// Decision trees as operator TreeEnsemble takes them (ops/README.md).
struct TreeLayout {
  std::vector<int32_t> feature_ids;
  std::vector<double> splits;
  std::vector<uint8_t> modes;
  std::vector<int32_t> true_ids;
  std::vector<int32_t> false_ids;
  std::vector<uint8_t> missing_true;
  std::vector<int32_t> roots;
  std::vector<int32_t> leaf_offsets;
  std::vector<int32_t> leaf_targets;
  std::vector<double> leaf_weights;
};

/// Renumbers the nodes, tree after tree, so that every child comes after its parents, and the
/// leaves in the order in which the trees reach them. Nodes may be shared (LightGBM's categorical
/// splits do that). Errors: kInvalidArgument where a child or leaf does not exist, trees have a
/// cycle, a node is reached by no root, or a weight's target is not in [0, num_targets);
/// kResourceExhausted beyond 2^31 nodes or weights. Cost: O(nodes + weights log weights).
Result<TreeLayout> LayOutTrees(const Forest& forest, int64_t num_targets);

}  // namespace verdict
