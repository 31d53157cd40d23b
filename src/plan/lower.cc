#include "plan/lower.h"

#include <algorithm>

#include "ops/evaluate.h"
#include "ops/half.h"
#include "plan/lowering.h"

namespace verdict {
namespace {

/// What constants that are added may take together, beside four times what all constants have.
constexpr uint64_t kAddedAllowance = uint64_t{64} << 20;

/// Bytes of the constants that something reads: a file holds no others, and the same must be made
/// of it as of the graph that it was written of.
uint64_t ReadBytes(const Graph& graph) {
  const std::vector<int32_t> uses = graph.UseCounts();
  uint64_t bytes = 0;
  for (ValueId id = 0; id < graph.num_values(); ++id) {
    const Constant* constant = graph.constant(id);
    if (constant == nullptr || uses[static_cast<size_t>(id)] == 0) continue;
    if (const auto size = ByteSize(constant->dtype, constant->shape); size.ok()) bytes += *size;
  }
  return bytes;
}

/// Does the node make floats of what is stored in fewer bytes?
bool IsOfNarrow(const Graph& graph, const Node& node) {
  return node.op == "DequantizeLinear" ||
         (node.op == "Cast" && graph.value(node.outputs[0]).dtype == DataType::kFloat32 &&
          IsHalf(graph.value(node.inputs[0]).dtype));
}

bool IsOfConstants(const Graph& graph, const Node& node) {
  return std::ranges::all_of(
      node.inputs, [&](ValueId id) { return id == kNoValue || graph.constant(id) != nullptr; });
}

/// Takes out the nodes that nothing reads any more.
void DropUnread(Graph& graph) {
  std::vector<int32_t> uses = graph.UseCounts();
  std::vector<Node> kept;
  for (auto node = graph.nodes.rbegin(); node != graph.nodes.rend(); ++node) {
    const bool read = std::ranges::any_of(node->outputs, [&](ValueId id) {
      return id != kNoValue && uses[static_cast<size_t>(id)] > 0;
    });
    if (read) {
      kept.push_back(std::move(*node));
      continue;
    }
    for (ValueId id : node->inputs) {
      if (id != kNoValue) --uses[static_cast<size_t>(id)];
    }
  }
  std::ranges::reverse(kept);
  graph.nodes = std::move(kept);
}

/// What is left of DequantizeLinear and Cast of constants: once, and not at every run.
Status WidenConstants(Lowering& lowering) {
  Graph& graph = lowering.graph;
  std::vector<Node> kept;
  for (Node& node : graph.nodes) {
    if (!IsOfNarrow(graph, node) || !IsOfConstants(graph, node)) {
      kept.push_back(std::move(node));
      continue;
    }
    const auto bytes = ByteSize(DataType::kFloat32, graph.value(node.outputs[0]).shape);
    if (!bytes.ok() || *bytes > lowering.bytes_left) {
      kept.push_back(std::move(node));
      continue;
    }
    lowering.bytes_left -= *bytes;
    std::vector<TensorView> inputs;
    for (ValueId id : node.inputs) {
      inputs.push_back(id == kNoValue ? TensorView() : graph.constant(id)->view());
    }
    VERDICT_ASSIGN_OR_RETURN(auto results, EvaluateNode(node, inputs));
    graph.value(node.outputs[0]).constant = std::make_shared<const Constant>(std::move(results[0]));
  }
  graph.nodes = std::move(kept);
  return OkStatus();
}

}  // namespace

Lowering::Lowering(const Graph& from)
    : graph(from), producers(from.Producers()), bytes_left(kAddedAllowance + 4 * ReadBytes(from)) {}

const Node* Lowering::Producer(ValueId id, std::string_view op) const {
  // Constants that were added have none.
  const int32_t index = id < std::ssize(producers) ? producers[static_cast<size_t>(id)] : -1;
  if (index < 0) return nullptr;
  const Node& node = graph.nodes[static_cast<size_t>(index)];
  return node.op == op ? &node : nullptr;
}

const Constant* ConstantInput(const Graph& graph, const Node& node, size_t input) {
  return input < node.inputs.size() ? graph.constant(node.inputs[input]) : nullptr;
}

Result<std::optional<Graph>> Lower(const Graph& graph) {
  const bool has_narrow_constants = std::ranges::any_of(graph.nodes, [&](const Node& node) {
    return IsOfNarrow(graph, node) && (node.op == "DequantizeLinear" || IsOfConstants(graph, node));
  });
  if (!has_narrow_constants) return std::optional<Graph>();
  Lowering lowering(graph);
  for (Node& node : lowering.graph.nodes) {
    if (node.op == "FusedGemm") LowerQuantizedGemm(lowering, node);
    if (node.op == "FusedGemm") LowerHalfGemm(lowering, node);
    if (node.op == "LSTM" || node.op == "GRU") LowerRecurrent(lowering, node);
  }
  DropUnread(lowering.graph);
  VERDICT_RETURN_IF_ERROR(WidenConstants(lowering));
  return std::optional<Graph>(std::move(lowering.graph));
}

}  // namespace verdict
