#pragma once

#include "ops/op.h"

namespace verdict {

/// Inputs of TreeEnsemble, in order; all but the first are constants.
enum TreeInput : size_t {
  kTreeX,
  kTreeFeatureIds,
  kTreeSplits,
  kTreeModes,
  kTreeTrueIds,
  kTreeFalseIds,
  kTreeMissingTrue,
  kTreeRoots,
  kTreeLeafOffsets,
  kTreeLeafTargets,
  kTreeLeafWeights,
  kTreeBaseValues,
  kNumTreeInputs,
};

/// How a node compares: x `mode` split.
enum TreeMode : uint8_t { kTreeLeq, kTreeLess, kTreeGeq, kTreeGreater, kTreeEq, kTreeNeq };

/// Checks the tables of a TreeEnsemble node: constants of the right types and sizes, ids within
/// range, children after their parents. What has passed, kernels need not check again.
/// Errors: kInvalidArgument naming the node, the table and the entry. Cost: O(nodes).
Status VerifyTreeEnsemble(const Graph& graph, const Node& node);

}  // namespace verdict
