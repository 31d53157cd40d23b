#include <numeric>

#include "ops/op.h"
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
  const auto slot = [](ValueId id) { return static_cast<size_t>(id); };
  std::vector<ValueId> replacement(slot(graph.num_values()));  // who stands for each value
  std::iota(replacement.begin(), replacement.end(), ValueId{0});
  std::vector<bool> is_output(replacement.size()), is_input(replacement.size());
  for (ValueId id : graph.outputs) is_output[slot(id)] = true;
  for (ValueId id : graph.inputs) is_input[slot(id)] = true;

  std::vector<Node> kept;
  kept.reserve(graph.nodes.size());
  for (Node& node : graph.nodes) {
    for (ValueId& id : node.inputs) {
      if (id != kNoValue) id = replacement[slot(id)];
    }
    if (!IsNoOp(graph, node)) {
      kept.push_back(std::move(node));
      continue;
    }
    const ValueId x = node.inputs[0];
    const ValueId y = node.outputs[0];
    // A graph output keeps its name: the producer's output takes it over, unless the source is
    // itself a graph input, a constant or another graph output.
    if (is_output[slot(y)]) {
      if (is_input[slot(x)] || graph.constant(x) != nullptr || is_output[slot(x)]) {
        kept.push_back(std::move(node));
        continue;
      }
      is_output[slot(x)] = true;
      const std::string name = graph.value(y).name;
      graph.RenameValue(y, "");
      graph.RenameValue(x, name);
    }
    replacement[slot(y)] = x;
  }
  const bool changed = kept.size() != graph.nodes.size();
  graph.nodes = std::move(kept);
  for (ValueId& id : graph.outputs) id = replacement[slot(id)];
  return changed;
}

}  // namespace

const Pass kRemoveNoOps = {
    .name = "remove_no_ops",
    .summary = "drop Identity, casts to the same type, transposes and reshapes that change nothing",
    .run = Run};

}  // namespace verdict
