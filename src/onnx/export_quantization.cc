#include "onnx/export_quantization.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "onnx/export_table.h"
#include "ops/evaluate.h"
#include "ops/recurrent.h"

namespace verdict {
namespace {

/// What the recurrent layers read as weights.
std::set<ValueId> WeightsOfRecurrentLayers(const Graph& graph) {
  std::set<ValueId> weights;
  for (const Node& node : graph.nodes) {
    if (node.op != "LSTM" && node.op != "GRU" && node.op != "RNN") continue;
    weights.insert({node.inputs[kRecurrentW], node.inputs[kRecurrentR]});
  }
  return weights;
}

/// Whether the node makes floats of narrower constants.
bool WidensConstants(const Graph& graph, const Node& node) {
  if (node.op != "DequantizeLinear" && node.op != "Cast") return false;
  return std::ranges::all_of(
      node.inputs, [&](ValueId id) { return id == kNoValue || graph.constant(id) != nullptr; });
}

Status WidenRecurrentWeights(Graph& graph) {
  const std::set<ValueId> weights = WeightsOfRecurrentLayers(graph);
  std::vector<Node> kept;
  for (Node& node : graph.nodes) {
    if (!weights.contains(node.outputs[0]) || !WidensConstants(graph, node)) {
      kept.push_back(std::move(node));
      continue;
    }
    std::vector<TensorView> inputs;
    for (ValueId id : node.inputs) {
      inputs.push_back(id == kNoValue ? TensorView{} : graph.constant(id)->view());
    }
    VERDICT_ASSIGN_OR_RETURN(auto outputs, EvaluateNode(node, inputs));
    graph.value(node.outputs[0]).constant = std::make_shared<const Constant>(std::move(outputs[0]));
  }
  graph.nodes = std::move(kept);
  return OkStatus();
}

/// DequantizeLinear(Gather(table, ids)) to Gather(DequantizeLinear(table), ids), where the scale is
/// one or of the columns.
void DequantizeTablesFirst(Graph& graph) {
  const std::vector<int32_t> producers = graph.Producers();
  const std::vector<int32_t> uses = graph.UseCounts();
  for (size_t index = 0; index < graph.nodes.size(); ++index) {
    Node& dequantize = graph.nodes[index];
    if (dequantize.op != "DequantizeLinear") continue;
    const ValueId rows = dequantize.inputs[0];
    const int32_t made = producers[static_cast<size_t>(rows)];
    if (made < 0 || uses[static_cast<size_t>(rows)] != 1) continue;
    Node& gather = graph.nodes[static_cast<size_t>(made)];
    if (gather.op != "Gather" || AttributeReader(gather).Int("axis", 0) != 0) continue;
    const Constant* table = graph.constant(gather.inputs[0]);
    const Constant* scale = graph.constant(dequantize.inputs[1]);
    const int64_t rank = graph.value(rows).shape.rank();
    const int64_t axis = AttributeReader(dequantize).Int("axis", 1);
    const bool has_computed_zero = dequantize.inputs.size() > 2 &&
                                   dequantize.inputs[2] != kNoValue &&
                                   graph.constant(dequantize.inputs[2]) == nullptr;
    if (table == nullptr || table->shape.rank() != 2 || scale == nullptr || has_computed_zero ||
        (scale->view().size() != 1 && axis != rank - 1 && axis != -1)) {
      continue;
    }
    const ValueId floats = graph.AddValue(graph.value(gather.inputs[0]).name + ".dequantized",
                                          DataType::kFloat32, table->shape);
    // The two nodes change places.
    Node first = dequantize, second = gather;
    first.inputs[0] = gather.inputs[0];
    first.outputs = {floats};
    first.attributes["axis"] = int64_t{1};
    second.inputs[0] = floats;
    second.outputs = dequantize.outputs;
    graph.nodes[static_cast<size_t>(made)] = std::move(first);
    graph.nodes[index] = std::move(second);
  }
}

}  // namespace

Result<Graph> ForOtherRuntimes(const Graph& graph) {
  Graph result = graph;
  VERDICT_RETURN_IF_ERROR(WidenRecurrentWeights(result));
  DequantizeTablesFirst(result);
  return result;
}

// ONNX may leave a zero point of 0 out. TensorRT's parser wants one, of the scale's size.
Status ExportDequantizeLinear(NodeExport& node) {
  const DataType type = node.input(0).dtype;
  const Constant* scale = node.ConstantInput(1);
  if (node.has_input(2) || type == DataType::kInt32 || scale == nullptr) {
    node.EmitNode();
    return OkStatus();
  }
  auto [zeros, data] = Constant::Allocate(type, scale->shape);
  std::memset(data, 0, static_cast<size_t>(zeros.view().size()) * ElementSize(type));
  node.EmitOutput(node.node.op,
                  {node.Input(0), node.Input(1), node.AddConstant("zero_point", zeros)},
                  node.attributes);
  return OkStatus();
}

}  // namespace verdict
