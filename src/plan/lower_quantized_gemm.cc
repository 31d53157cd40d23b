#include <algorithm>
#include <cmath>

#include "ops/op.h"
#include "ops/quantized_gemm.h"
#include "plan/lowering.h"

namespace verdict {
namespace {

/// The numbers of a QuantizeLinear or DequantizeLinear whose scale is one for the whole tensor.
struct Scaling {
  float scale;
  int64_t zero_point;  // as of uint8
  bool operator==(const Scaling&) const = default;
};

bool HasZeroPoint(const Node& node) { return node.inputs.size() > 2 && node.inputs[2] != kNoValue; }

/// quantized: the type of the quantized side.
std::optional<Scaling> ScalingOf(const Graph& graph, const Node& node, DataType quantized) {
  const Constant* scale = ConstantInput(graph, node, 1);
  if (scale == nullptr || scale->view().size() != 1) return std::nullopt;
  Scaling scaling{.scale = scale->view().as<const float>()[0], .zero_point = 0};
  if (!std::isnormal(scaling.scale) || scaling.scale < 0) return std::nullopt;
  const Constant* zero_point = ConstantInput(graph, node, 2);
  if (HasZeroPoint(node) && zero_point == nullptr) return std::nullopt;
  if (quantized == DataType::kInt8) {
    scaling.zero_point = kSignedZeroPoint;
    if (zero_point != nullptr) scaling.zero_point += zero_point->view().as<const int8_t>()[0];
  } else if (quantized == DataType::kUInt8) {
    if (zero_point != nullptr) scaling.zero_point = zero_point->view().as<const uint8_t>()[0];
  } else {
    return std::nullopt;
  }
  return scaling;
}

struct Activations {
  ValueId x;
  Scaling scaling;
};

/// DequantizeLinear(QuantizeLinear(x)) with equal numbers.
std::optional<Activations> MatchActivations(const Lowering& lowering, ValueId id) {
  const Node* dequantize = lowering.Producer(id, "DequantizeLinear");
  if (dequantize == nullptr) return std::nullopt;
  const Node* quantize = lowering.Producer(dequantize->inputs[0], "QuantizeLinear");
  if (quantize == nullptr) return std::nullopt;
  const DataType dtype = lowering.graph.value(quantize->outputs[0]).dtype;
  const auto first = ScalingOf(lowering.graph, *quantize, dtype);
  if (!first || first != ScalingOf(lowering.graph, *dequantize, dtype)) return std::nullopt;
  return Activations{quantize->inputs[0], *first};
}

}  // namespace

std::optional<QuantizedWeights> MatchQuantizedWeights(Lowering& lowering, ValueId id, int rank) {
  const Node* dequantize = lowering.Producer(id, "DequantizeLinear");
  if (dequantize == nullptr) return std::nullopt;
  const Constant* values = ConstantInput(lowering.graph, *dequantize, 0);
  const Constant* scales = ConstantInput(lowering.graph, *dequantize, 1);
  if (values == nullptr || scales == nullptr || values->dtype != DataType::kInt8 ||
      values->shape.rank() != rank || values->shape[rank == 2 ? 0 : 2] > kMaxQuantizedDepth) {
    return std::nullopt;
  }
  if (HasZeroPoint(*dequantize)) {
    const Constant* zero_points = ConstantInput(lowering.graph, *dequantize, 2);
    if (zero_points == nullptr) return std::nullopt;
    const auto of_columns = zero_points->view().as<const int8_t>();
    if (std::ranges::any_of(of_columns, [](int8_t value) { return value != 0; })) {
      return std::nullopt;
    }
  }
  const int64_t columns = values->shape[1];
  QuantizedWeights weights{dequantize->inputs[0], dequantize->inputs[1]};
  if (scales->view().size() == 1) {
    const uint64_t bytes = static_cast<uint64_t>(columns) * sizeof(float);
    if (bytes > lowering.bytes_left) return std::nullopt;
    lowering.bytes_left -= bytes;
    const std::vector<float> each(static_cast<size_t>(columns),
                                  scales->view().as<const float>()[0]);
    weights.scales = lowering.graph.AddConstant(lowering.graph.value(weights.scales).name,
                                                Constant::Of<float>(Shape{columns}, each));
    return weights;
  }
  const int64_t axis = AttributeReader(*dequantize).Int("axis", 1);
  if (axis != 1 && axis != 1 - rank) return std::nullopt;
  return weights;
}

void LowerQuantizedGemm(Lowering& lowering, Node& node) {
  const auto activations = MatchActivations(lowering, node.inputs[0]);
  if (!activations) return;
  const auto weights = MatchQuantizedWeights(lowering, node.inputs[1], 2);
  if (!weights) return;
  const ValueId scale = lowering.graph.AddConstant(
      "scale", Constant::Of<float>(Shape{}, std::span(&activations->scaling.scale, 1)));
  const ValueId bias = node.inputs.size() > 2 ? node.inputs[2] : kNoValue;
  node.op = "QuantizedGemm";
  node.inputs = {activations->x, weights->values, scale, weights->scales};
  if (bias != kNoValue) node.inputs.push_back(bias);
  node.attributes["zero_point"] = activations->scaling.zero_point;
}

}  // namespace verdict
