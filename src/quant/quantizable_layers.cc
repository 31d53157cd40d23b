#include "quant/quantizable_layers.h"

#include "ops/op.h"
#include "ops/quantized_gemm.h"
#include "ops/recurrent.h"

namespace verdict {
namespace {

/// Smaller tables gain nothing.
constexpr int64_t kMinTableElements = 16'384;

/// A f32 constant, products with which are summed along `depth_axis`.
bool IsWeights(const Graph& graph, ValueId id, int depth_axis) {
  const Constant* weights = id == kNoValue ? nullptr : graph.constant(id);
  return weights != nullptr && weights->dtype == DataType::kFloat32 && weights->view().size() > 0 &&
         weights->shape[depth_axis] <= kMaxQuantizedDepth;
}

bool IsConstantOrLeftOut(const Graph& graph, const Node& node, size_t input) {
  return input >= node.inputs.size() || node.inputs[input] == kNoValue ||
         graph.constant(node.inputs[input]) != nullptr;
}

bool IsQuantizableGemm(const Graph& graph, const Node& node) {
  return node.op == "FusedGemm" && IsWeights(graph, node.inputs[1], 0) &&
         graph.constant(node.inputs[0]) == nullptr && IsConstantOrLeftOut(graph, node, 2);
}

bool IsQuantizableRecurrent(const Graph& graph, const Node& node) {
  return (node.op == "LSTM" || node.op == "GRU") && IsWeights(graph, node.inputs[kRecurrentW], 2) &&
         IsWeights(graph, node.inputs[kRecurrentR], 2) &&
         IsConstantOrLeftOut(graph, node, kRecurrentB);
}

bool IsQuantizableTable(const Graph& graph, const Node& node) {
  if (node.op != "Gather" || AttributeReader(node).Int("axis", 0) != 0) return false;
  const Constant* table = graph.constant(node.inputs[0]);
  return table != nullptr && table->dtype == DataType::kFloat32 && table->shape.rank() == 2 &&
         std::ssize(table->view().as<const float>()) >= kMinTableElements &&
         graph.constant(node.inputs[1]) == nullptr;
}

}  // namespace

std::vector<ValueId> WeightsOf(const Graph& graph, const QuantizableLayer& layer) {
  const Node& node = graph.nodes[static_cast<size_t>(layer.node)];
  if (node.op != "LSTM" && node.op != "GRU") return {layer.weights};
  return {layer.weights, node.inputs[kRecurrentR]};
}

std::vector<QuantizableLayer> FindQuantizableLayers(const Graph& graph) {
  std::vector<QuantizableLayer> layers;
  for (size_t index = 0; index < graph.nodes.size(); ++index) {
    const Node& node = graph.nodes[index];
    const auto at = static_cast<int32_t>(index);
    if (IsQuantizableGemm(graph, node)) {
      layers.push_back({at, node.inputs[0], node.inputs[1], true});
    } else if (IsQuantizableRecurrent(graph, node)) {
      layers.push_back({at, node.inputs[kRecurrentX], node.inputs[kRecurrentW]});
    } else if (IsQuantizableTable(graph, node)) {
      layers.push_back({at, kNoValue, node.inputs[0]});
    }
  }
  return layers;
}

}  // namespace verdict
