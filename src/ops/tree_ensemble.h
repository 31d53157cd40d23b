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

/// How the weights of a target's leaves become its score.
enum class TreeAggregate { kSum, kAverage, kMin, kMax };

/// False if the attribute names no aggregate.
bool ReadTreeAggregate(const AttributeReader& attributes, TreeAggregate* aggregate);

/// Adds a leaf's weight to a score; `touched`: whether one has been added before.
template <typename T>
void AddTreeWeight(TreeAggregate aggregate, T weight, T& score, uint8_t& touched) {
  switch (aggregate) {
    case TreeAggregate::kSum:
    case TreeAggregate::kAverage:
      score += weight;
      break;
    case TreeAggregate::kMin:
      if (touched == 0 || weight < score) score = weight;
      break;
    case TreeAggregate::kMax:
      if (touched == 0 || weight > score) score = weight;
      break;
  }
  touched = 1;
}

/// Checks the tables of a TreeEnsemble node: constants of the right types and sizes, ids within
/// range, children after their parents. What has passed, kernels need not check again.
/// Errors: kInvalidArgument naming the node, the table and the entry. Cost: O(nodes).
Status VerifyTreeEnsemble(const Graph& graph, const Node& node);

}  // namespace verdict
