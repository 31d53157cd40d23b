#include "quant/insert_quantization.h"

#include <algorithm>
#include <cmath>

#include "ops/quantized_gemm.h"
#include "passes/match.h"

namespace verdict {
namespace {

constexpr float kLargestQuantum = 127;

struct QuantizedWeights {
  Constant values;  // int8 [K, N]
  Constant scales;  // f32 [N]
};

/// w: [k, n].
Result<QuantizedWeights> QuantizeColumns(std::span<const float> w, int64_t k, int64_t n,
                                         const std::string& name) {
  auto [values, value_data] = Constant::Allocate(DataType::kInt8, Shape{k, n});
  auto [scales, scale_data] = Constant::Allocate(DataType::kFloat32, Shape{n});
  auto* const to = static_cast<int8_t*>(value_data);
  auto* const scale = static_cast<float*>(scale_data);
  for (int64_t j = 0; j < n; ++j) {
    float largest = 0;
    for (int64_t p = 0; p < k; ++p) {
      const float value = w[static_cast<size_t>(p * n + j)];
      if (!std::isfinite(value)) {
        return InvalidArgument("weights '" + name + "' hold " + std::to_string(value) +
                               ", which int8 cannot");
      }
      largest = std::max(largest, std::fabs(value));
    }
    scale[j] = largest / kLargestQuantum;
    if (!std::isnormal(scale[j])) scale[j] = 1;  // a column of zeros, or next to it
    for (int64_t p = 0; p < k; ++p) {
      const float quantum = std::nearbyint(w[static_cast<size_t>(p * n + j)] / scale[j]);
      to[p * n + j] = static_cast<int8_t>(std::clamp(quantum, -kLargestQuantum, kLargestQuantum));
    }
  }
  return QuantizedWeights{std::move(values), std::move(scales)};
}

/// The bias with which the mean output is what it was; `old` may be empty.
std::vector<double> CorrectedBias(std::span<const float> old, std::span<const float> w,
                                  const QuantizedWeights& quantized,
                                  std::span<const double> means) {
  const auto values = quantized.values.view().as<const int8_t>();
  const auto scales = quantized.scales.view().as<const float>();
  const size_t n = scales.size();
  std::vector<double> bias(n, 0.0);
  for (size_t j = 0; j < old.size(); ++j) bias[j] = static_cast<double>(old[j]);
  for (size_t p = 0; p < means.size(); ++p) {
    for (size_t j = 0; j < n; ++j) {
      const double used = static_cast<double>(values[p * n + j]) * static_cast<double>(scales[j]);
      bias[j] += means[p] * (static_cast<double>(w[p * n + j]) - used);
    }
  }
  return bias;
}

class Inserter {
 public:
  Inserter(Graph& graph, const TensorRanges& ranges) : graph_(graph), ranges_(ranges) {}

  Status Quantize(const QuantizableLayer& layer) {
    Node& node = graph_.nodes[static_cast<size_t>(layer.node)];
    const std::string name = graph_.value(layer.weights).name;
    const Shape shape = graph_.value(layer.weights).shape;
    const auto w = graph_.constant(layer.weights)->view().as<const float>();
    const auto range = ranges_.find(graph_.value(layer.input).name);
    if (range == ranges_.end() || !std::isnormal(range->second.threshold / kLargestQuantum)) {
      return InvalidArgument(Graph::Describe(node) + ": tensor '" + graph_.value(layer.input).name +
                             "' has no range that a scale can be made of");
    }
    VERDICT_ASSIGN_OR_RETURN(QuantizedWeights quantized,
                             QuantizeColumns(w, shape[0], shape[1], name));
    if (std::ssize(range->second.means) == shape[0]) {
      const ValueId old = node.inputs.size() > 2 ? node.inputs[2] : kNoValue;
      const auto bias =
          CorrectedBias(old == kNoValue ? std::span<const float>()
                                        : graph_.constant(old)->view().as<const float>(),
                        w, quantized, range->second.means);
      const std::string bias_name = old == kNoValue ? name + ".bias" : graph_.value(old).name;
      node.inputs.resize(2);
      node.inputs.push_back(AddFloats(graph_, bias_name, Shape{shape[1]}, bias));
    }
    std::vector<Node>& before = before_[layer.node];
    const ValueId values = graph_.AddConstant(name + ".int8", std::move(quantized.values));
    const ValueId scales = graph_.AddConstant(name + ".scale", std::move(quantized.scales));
    const ValueId dequantized = graph_.AddValue(name + ".dequantized", DataType::kFloat32, shape);
    before.push_back({.name = name + ".dequantize",
                      .op = "DequantizeLinear",
                      .inputs = {values, scales},
                      .outputs = {dequantized},
                      .attributes = {{"axis", int64_t{1}}}});
    node.inputs[1] = dequantized;
    node.inputs[0] = Activations(layer.input, range->second.threshold, before);
    return OkStatus();
  }

  void Finish() {
    std::vector<Node> nodes;
    for (size_t index = 0; index < graph_.nodes.size(); ++index) {
      if (const auto before = before_.find(static_cast<int32_t>(index)); before != before_.end()) {
        std::ranges::move(before->second, std::back_inserter(nodes));
      }
      nodes.push_back(std::move(graph_.nodes[index]));
    }
    graph_.nodes = std::move(nodes);
  }

 private:
  /// The tensor after Q and DQ, which the first layer that reads it has before it.
  ValueId Activations(ValueId input, float threshold, std::vector<Node>& before) {
    const auto [at, is_new] = quantized_.try_emplace(input, kNoValue);
    if (!is_new) return at->second;
    const Value value = graph_.value(input);
    const float scale = threshold / kLargestQuantum;
    const int8_t zero = 0;
    const ValueId scale_id = graph_.AddConstant(value.name + ".scale",
                                                Constant::Of<float>(Shape{}, std::span(&scale, 1)));
    const ValueId zero_id = graph_.AddConstant(value.name + ".zero_point",
                                               Constant::Of<int8_t>(Shape{}, std::span(&zero, 1)));
    const ValueId quantized = graph_.AddValue(value.name + ".int8", DataType::kInt8, value.shape);
    at->second = graph_.AddValue(value.name + ".dequantized", DataType::kFloat32, value.shape);
    before.push_back({.name = value.name + ".quantize",
                      .op = "QuantizeLinear",
                      .inputs = {input, scale_id, zero_id},
                      .outputs = {quantized}});
    before.push_back({.name = value.name + ".dequantize",
                      .op = "DequantizeLinear",
                      .inputs = {quantized, scale_id, zero_id},
                      .outputs = {at->second}});
    return at->second;
  }

  Graph& graph_;
  const TensorRanges& ranges_;
  std::map<int32_t, std::vector<Node>> before_;  // by the node's index
  std::map<ValueId, ValueId> quantized_;
};

}  // namespace

std::vector<QuantizableLayer> FindQuantizableLayers(const Graph& graph) {
  std::vector<QuantizableLayer> layers;
  for (size_t index = 0; index < graph.nodes.size(); ++index) {
    const Node& node = graph.nodes[index];
    if (node.op != "FusedGemm") continue;
    const Constant* weights = graph.constant(node.inputs[1]);
    if (weights == nullptr || weights->dtype != DataType::kFloat32 ||
        weights->shape[0] > kMaxQuantizedDepth || weights->view().size() == 0 ||
        graph.constant(node.inputs[0]) != nullptr) {
      continue;
    }
    const ValueId bias = node.inputs.size() > 2 ? node.inputs[2] : kNoValue;
    if (bias != kNoValue && graph.constant(bias) == nullptr) continue;
    layers.push_back({static_cast<int32_t>(index), node.inputs[0], node.inputs[1]});
  }
  return layers;
}

Status InsertQuantization(Graph& graph, std::span<const QuantizableLayer> layers,
                          const TensorRanges& ranges) {
  Inserter inserter(graph, ranges);
  for (const QuantizableLayer& layer : layers) {
    VERDICT_RETURN_IF_ERROR(inserter.Quantize(layer));
  }
  inserter.Finish();
  return OkStatus();
}

}  // namespace verdict
