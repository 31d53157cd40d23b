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

}  // namespace

Result<Graph> DequantizeRecurrentWeights(const Graph& graph) {
  const std::set<ValueId> weights = WeightsOfRecurrentLayers(graph);
  Graph result = graph;
  result.nodes.clear();
  for (const Node& node : graph.nodes) {
    const auto varies = [&](ValueId id) { return id != kNoValue && graph.constant(id) == nullptr; };
    if (node.op != "DequantizeLinear" || !weights.contains(node.outputs[0]) ||
        std::ranges::any_of(node.inputs, varies)) {
      result.nodes.push_back(node);
      continue;
    }
    std::vector<TensorView> inputs;
    for (ValueId id : node.inputs) {
      inputs.push_back(id == kNoValue ? TensorView{} : graph.constant(id)->view());
    }
    VERDICT_ASSIGN_OR_RETURN(auto outputs, EvaluateNode(node, inputs));
    result.value(node.outputs[0]).constant =
        std::make_shared<const Constant>(std::move(outputs[0]));
  }
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
