#include <algorithm>

#include "ops/op.h"
#include "passes/match.h"
#include "passes/pass.h"

namespace verdict {
namespace {

bool IsIdentityPermutation(const Node& node, int rank) {
  const auto permutation = AttributeReader(node).Ints("perm");
  if (permutation.empty()) return rank <= 1;
  for (size_t axis = 0; axis < permutation.size(); ++axis) {
    if (permutation[axis] != static_cast<int64_t>(axis)) return false;
  }
  return true;
}

/// Does the node give its first input back unchanged?
bool IsNoOp(const Graph& graph, const Node& node) {
  if (node.op == "Identity") return true;
  if (node.inputs.empty() || node.inputs[0] == kNoValue) return false;
  const Value& x = graph.value(node.inputs[0]);
  const Value& y = graph.value(node.outputs[0]);
  if (node.op == "Cast") return x.dtype == y.dtype;
  if (node.op == "Transpose") return IsIdentityPermutation(node, x.shape.rank());
  if (node.op == "Reshape" || node.op == "Flatten" || node.op == "Expand") {
    return x.shape == y.shape;  // symbols included: equal symbols are equal extents
  }
  if (node.op == "Concat") return node.inputs.size() == 1;
  return false;
}

Result<bool> Run(Graph& graph) {
  bool changed = false;
  for (size_t index = 0; index < graph.nodes.size();) {
    const Node& node = graph.nodes[index];
    if (!IsNoOp(graph, node)) {
      ++index;
      continue;
    }
    const ValueId x = node.inputs[0];
    const ValueId y = node.outputs[0];
    // A graph output keeps its name: the producer's output takes it over, unless the source is
    // itself a graph input, a constant or another graph output.
    if (std::ranges::count(graph.outputs, y) > 0) {
      const bool is_input = std::ranges::count(graph.inputs, x) > 0;
      if (is_input || graph.constant(x) != nullptr || std::ranges::count(graph.outputs, x) > 0) {
        ++index;
        continue;
      }
    }
    graph.nodes.erase(graph.nodes.begin() + static_cast<ptrdiff_t>(index));
    TakeOver(graph, y, x);
    changed = true;
  }
  return changed;
}

}  // namespace

const Pass kRemoveNoOps = {
    .name = "remove_no_ops",
    .summary = "drop Identity, casts to the same type, transposes and reshapes that change nothing",
    .run = Run};

}  // namespace verdict
