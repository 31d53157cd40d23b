#include "quant/insert_quantization.h"

#include <algorithm>
#include <cmath>

#include "ops/op.h"
#include "ops/recurrent.h"
#include "passes/match.h"
#include "quant/inserted_nodes.h"

namespace verdict {
namespace {

constexpr float kLargestQuantum = 127;

struct QuantizedWeights {
  Constant values;  // int8, of the weights' shape
  Constant scales;  // f32 [extent of the axis]
};

/// With a scale for each index along `axis`.
Result<QuantizedWeights> QuantizeAlong(const Constant& weights, int axis, const std::string& name) {
  const auto w = weights.view().as<const float>();
  const auto channels = static_cast<size_t>(weights.shape[axis]);
  size_t inner = 1;
  for (int i = axis + 1; i < weights.shape.rank(); ++i) {
    inner *= static_cast<size_t>(weights.shape[i]);
  }
  auto [values, value_data] = Constant::Allocate(DataType::kInt8, weights.shape);
  auto [scales, scale_data] = Constant::Allocate(DataType::kFloat32, Shape{weights.shape[axis]});
  const std::span to(static_cast<int8_t*>(value_data), w.size());
  const std::span scale(static_cast<float*>(scale_data), channels);
  std::ranges::fill(scale, 0.0F);
  for (size_t i = 0; i < w.size(); ++i) {
    if (!std::isfinite(w[i])) {
      return InvalidArgument("weights '" + name + "' hold " + std::to_string(w[i]) +
                             ", which int8 cannot");
    }
    float& largest = scale[i / inner % channels];
    largest = std::max(largest, std::fabs(w[i]));
  }
  for (float& each : scale) {
    each /= kLargestQuantum;
    if (!std::isnormal(each)) each = 1;  // a column of zeros, or next to it
  }
  for (size_t i = 0; i < w.size(); ++i) {
    const float quantum = std::nearbyint(w[i] / scale[i / inner % channels]);
    to[i] = static_cast<int8_t>(std::clamp(quantum, -kLargestQuantum, kLargestQuantum));
  }
  return QuantizedWeights{std::move(values), std::move(scales)};
}

/// The bias with which the mean output is what it was; `old` may be empty.
std::vector<double> CorrectedBias(std::span<const float> old, std::span<const float> w,
                                  std::span<const int8_t> values, std::span<const float> scales,
                                  std::span<const double> means) {
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
    const Node& node = graph_.nodes[static_cast<size_t>(layer.node)];
    if (node.op == "FusedGemm") return QuantizeGemm(layer);
    if (node.op == "Gather") return QuantizeTable(layer);
    return QuantizeRecurrent(layer);
  }

  void Finish() { inserted_.InsertInto(graph_); }

 private:
  struct Weights {
    ValueId values;
    ValueId scales;
  };

  Status QuantizeGemm(const QuantizableLayer& layer) {
    Node& node = graph_.nodes[static_cast<size_t>(layer.node)];
    const std::string name = graph_.value(layer.weights).name;
    const auto range = ranges_.find(graph_.value(layer.input).name);
    if (range == ranges_.end() || !std::isnormal(range->second.threshold / kLargestQuantum)) {
      return InvalidArgument(Graph::Describe(node) + ": tensor '" + graph_.value(layer.input).name +
                             "' has no range that a scale can be made of");
    }
    std::vector<Node>& before = inserted_.Before(layer.node);
    VERDICT_ASSIGN_OR_RETURN(node.inputs[1], Dequantized(layer.weights, 1, before));
    const Weights quantized = weights_.at(layer.weights);
    const Shape shape = graph_.value(layer.weights).shape;
    if (std::ssize(range->second.means) == shape[0]) {
      const ValueId old = node.inputs.size() > 2 ? node.inputs[2] : kNoValue;
      const auto bias = CorrectedBias(
          old == kNoValue ? std::span<const float>()
                          : graph_.constant(old)->view().as<const float>(),
          graph_.constant(layer.weights)->view().as<const float>(),
          graph_.constant(quantized.values)->view().as<const int8_t>(),
          graph_.constant(quantized.scales)->view().as<const float>(), range->second.means);
      const std::string bias_name = old == kNoValue ? name + ".bias" : graph_.value(old).name;
      node.inputs.resize(2);
      node.inputs.push_back(AddFloats(graph_, bias_name, Shape{shape[1]}, bias));
    }
    node.inputs[0] = Activations(layer.input, range->second.threshold, before);
    return OkStatus();
  }

  Status QuantizeRecurrent(const QuantizableLayer& layer) {
    Node& node = graph_.nodes[static_cast<size_t>(layer.node)];
    std::vector<Node>& before = inserted_.Before(layer.node);
    for (size_t input : {kRecurrentW, kRecurrentR}) {
      VERDICT_ASSIGN_OR_RETURN(node.inputs[input], Dequantized(node.inputs[input], 1, before));
    }
    node.attributes.insert_or_assign(std::string(kComputeType), std::string("int8"));
    return OkStatus();
  }

  Status QuantizeTable(const QuantizableLayer& layer) {
    Node& node = graph_.nodes[static_cast<size_t>(layer.node)];
    VERDICT_ASSIGN_OR_RETURN(const Weights table, Quantized(layer.weights, 1));
    const Value output = graph_.value(node.outputs[0]);
    const ValueId rows = graph_.AddValue(output.name + ".int8", DataType::kInt8, output.shape);
    inserted_.After(layer.node)
        .push_back({.name = output.name + ".dequantize",
                    .op = "DequantizeLinear",
                    .inputs = {rows, table.scales},
                    .outputs = {node.outputs[0]},
                    .attributes = {{"axis", int64_t{output.shape.rank() - 1}}}});
    node.inputs[0] = table.values;
    node.outputs[0] = rows;
    return OkStatus();
  }

  Result<Weights> Quantized(ValueId id, int axis) {
    if (const auto known = weights_.find(id); known != weights_.end()) return known->second;
    const std::string name = graph_.value(id).name;
    VERDICT_ASSIGN_OR_RETURN(QuantizedWeights quantized,
                             QuantizeAlong(*graph_.constant(id), axis, name));
    const Weights weights = {graph_.AddConstant(name + ".int8", std::move(quantized.values)),
                             graph_.AddConstant(name + ".scale", std::move(quantized.scales))};
    weights_[id] = weights;
    return weights;
  }

  /// The weights after DQ, which the first layer that reads them has before it.
  Result<ValueId> Dequantized(ValueId id, int axis, std::vector<Node>& before) {
    if (const auto known = dequantized_.find(id); known != dequantized_.end()) return known->second;
    VERDICT_ASSIGN_OR_RETURN(const Weights weights, Quantized(id, axis));
    const std::string name = graph_.value(id).name;
    const ValueId dequantized =
        graph_.AddValue(name + ".dequantized", DataType::kFloat32, graph_.value(id).shape);
    before.push_back({.name = name + ".dequantize",
                      .op = "DequantizeLinear",
                      .inputs = {weights.values, weights.scales},
                      .outputs = {dequantized},
                      .attributes = {{"axis", int64_t{axis}}}});
    dequantized_[id] = dequantized;
    return dequantized;
  }

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
  InsertedNodes inserted_;
  std::map<ValueId, Weights> weights_;
  std::map<ValueId, ValueId> dequantized_;
  std::map<ValueId, ValueId> quantized_;
};

}  // namespace

std::string WhyNotInt8(const Graph& graph, const QuantizableLayer& layer,
                       const TensorRanges& ranges) {
  if (layer.needs_range) {
    const std::string& name = graph.value(layer.input).name;
    const auto range = ranges.find(name);
    if (range != ranges.end() && !std::isnormal(range->second.threshold / kLargestQuantum)) {
      return "'" + name + "' is too small for a scale";
    }
  }
  for (const ValueId id : WeightsOf(graph, layer)) {
    for (const float value : graph.constant(id)->view().as<const float>()) {
      if (std::isfinite(value)) continue;
      return "weights '" + graph.value(id).name + "' hold " + std::to_string(value);
    }
  }
  return "";
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
