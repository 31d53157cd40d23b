#include <algorithm>

#include "ops/evaluate.h"
#include "ops/op.h"
#include "passes/match.h"
#include "passes/pass.h"

namespace verdict {
namespace {

/// A folded result may not grow the engine past this: an Expand of a scalar is cheaper to compute
/// than to load.
constexpr size_t kMaxFoldedBytes = size_t{16} << 20;

bool IsConstant(const Graph& graph, ValueId id) {
  return id == kNoValue || graph.constant(id) != nullptr;
}

/// Shape and Size of a value whose extents are all fixed need no contents.
bool DependsOnConstantsOnly(const Graph& graph, const Node& node) {
  if (node.op == "Shape" || node.op == "Size") {
    const Value& input = graph.value(node.inputs[0]);
    if (input.dtype != DataType::kUndefined && input.shape.IsStatic()) return true;
  }
  return std::ranges::all_of(node.inputs, [&](ValueId id) { return IsConstant(graph, id); });
}

bool IsSmall(const Graph& graph, const Node& node) {
  return std::ranges::all_of(node.outputs, [&](ValueId id) {
    if (id == kNoValue) return true;
    const auto bytes = ByteSize(graph.value(id).dtype, graph.value(id).shape);
    return bytes.ok() && *bytes <= kMaxFoldedBytes;
  });
}

Result<bool> Run(Graph& graph) {
  bool changed = false;
  std::vector<Node> kept;
  for (Node& node : graph.nodes) {
    if (!DependsOnConstantsOnly(graph, node) || !IsSmall(graph, node)) {
      kept.push_back(std::move(node));
      continue;
    }
    std::vector<TensorView> inputs;
    for (ValueId id : node.inputs) {
      if (id == kNoValue) {
        inputs.emplace_back();
      } else if (const Constant* constant = graph.constant(id)) {
        inputs.push_back(constant->view());
      } else {
        inputs.push_back({graph.value(id).dtype, graph.value(id).shape, nullptr});
      }
    }
    VERDICT_ASSIGN_OR_RETURN(auto results, EvaluateNode(node, inputs));
    for (size_t i = 0; i < results.size(); ++i) {
      if (node.outputs[i] == kNoValue) continue;
      Value& value = graph.value(node.outputs[i]);
      value.dtype = results[i].dtype;
      value.shape = results[i].shape;
      value.constant = std::make_shared<const Constant>(std::move(results[i]));
    }
    changed = true;
  }
  graph.nodes = std::move(kept);
  return changed;
}

}  // namespace

const Pass kFoldConstants = {.name = "fold_constants",
                             .summary = "compute at build time what depends on constants only",
                             .run = Run};

}  // namespace verdict
