#include "plan/lower.h"

#include <algorithm>
#include <cmath>

#include "ops/evaluate.h"
#include "ops/op.h"
#include "ops/quantized_gemm.h"
#include "ops/recurrent.h"

namespace verdict {
namespace {

/// What dequantized constants may take together, beside four times what all constants have: a
/// hostile graph dequantizes one constant in many nodes.
constexpr uint64_t kDequantizedAllowance = uint64_t{64} << 20;

/// The numbers of a QuantizeLinear or DequantizeLinear whose scale is one for the whole tensor.
struct Scaling {
  float scale;
  int64_t zero_point;  // as of uint8
  bool operator==(const Scaling&) const = default;
};

const Constant* ConstantInput(const Graph& graph, const Node& node, size_t input) {
  return input < node.inputs.size() ? graph.constant(node.inputs[input]) : nullptr;
}

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

class Lowering {
 public:
  explicit Lowering(const Graph& graph)
      : lowered_(graph),
        producers_(graph.Producers()),
        dequantized_left_(kDequantizedAllowance + 4 * ReadBytes(graph)) {}

  Result<std::optional<Graph>> Run() {
    for (Node& node : lowered_.nodes) {
      if (node.op == "FusedGemm") LowerGemm(node);
      if (node.op == "LSTM" || node.op == "GRU") LowerRecurrent(node);
    }
    DropUnread();
    VERDICT_RETURN_IF_ERROR(DequantizeConstants());
    return std::optional<Graph>(std::move(lowered_));
  }

 private:
  const Node* Producer(ValueId id, std::string_view op) const {
    // Constants that were added have none.
    const int32_t index = id < std::ssize(producers_) ? producers_[static_cast<size_t>(id)] : -1;
    if (index < 0) return nullptr;
    const Node& node = lowered_.nodes[static_cast<size_t>(index)];
    return node.op == op ? &node : nullptr;
  }

  ValueId AddScalar(float value) {
    return lowered_.AddConstant("scale", Constant::Of<float>(Shape{}, std::span(&value, 1)));
  }

  struct Activations {
    ValueId x;
    Scaling scaling;
  };

  /// DequantizeLinear(QuantizeLinear(x)) with equal numbers.
  std::optional<Activations> MatchActivations(ValueId id) const {
    const Node* dequantize = Producer(id, "DequantizeLinear");
    if (dequantize == nullptr) return std::nullopt;
    const Node* quantize = Producer(dequantize->inputs[0], "QuantizeLinear");
    if (quantize == nullptr) return std::nullopt;
    const DataType dtype = lowered_.value(quantize->outputs[0]).dtype;
    const auto first = ScalingOf(lowered_, *quantize, dtype);
    if (!first || first != ScalingOf(lowered_, *dequantize, dtype)) return std::nullopt;
    return Activations{quantize->inputs[0], *first};
  }

  struct Weights {
    ValueId values;
    ValueId scales;  // [N]
  };

  /// DequantizeLinear of an int8 constant around zero ([K, N], or [D, N, K] of a recurrent layer),
  /// with a scale for each of N or one.
  std::optional<Weights> MatchWeights(ValueId id, int rank) {
    const Node* dequantize = Producer(id, "DequantizeLinear");
    if (dequantize == nullptr) return std::nullopt;
    const Constant* values = ConstantInput(lowered_, *dequantize, 0);
    const Constant* scales = ConstantInput(lowered_, *dequantize, 1);
    if (values == nullptr || scales == nullptr || values->dtype != DataType::kInt8 ||
        values->shape.rank() != rank || values->shape[rank == 2 ? 0 : 2] > kMaxQuantizedDepth) {
      return std::nullopt;
    }
    if (HasZeroPoint(*dequantize)) {
      const Constant* zero_points = ConstantInput(lowered_, *dequantize, 2);
      if (zero_points == nullptr) return std::nullopt;
      const auto of_columns = zero_points->view().as<const int8_t>();
      if (std::ranges::any_of(of_columns, [](int8_t value) { return value != 0; })) {
        return std::nullopt;
      }
    }
    const int64_t columns = values->shape[1];
    Weights weights{dequantize->inputs[0], dequantize->inputs[1]};
    if (scales->view().size() == 1) {
      const uint64_t bytes = static_cast<uint64_t>(columns) * sizeof(float);
      if (bytes > dequantized_left_) return std::nullopt;
      dequantized_left_ -= bytes;
      const std::vector<float> each(static_cast<size_t>(columns),
                                    scales->view().as<const float>()[0]);
      weights.scales = lowered_.AddConstant(lowered_.value(weights.scales).name,
                                            Constant::Of<float>(Shape{columns}, each));
      return weights;
    }
    const int64_t axis = AttributeReader(*dequantize).Int("axis", 1);
    if (axis != 1 && axis != 1 - rank) return std::nullopt;
    return weights;
  }

  void LowerGemm(Node& node) {
    const auto activations = MatchActivations(node.inputs[0]);
    if (!activations) return;
    const auto weights = MatchWeights(node.inputs[1], 2);
    if (!weights) return;
    const ValueId bias = node.inputs.size() > 2 ? node.inputs[2] : kNoValue;
    node.op = "QuantizedGemm";
    node.inputs = {activations->x, weights->values, AddScalar(activations->scaling.scale),
                   weights->scales};
    if (bias != kNoValue) node.inputs.push_back(bias);
    node.attributes["zero_point"] = activations->scaling.zero_point;
  }

  void LowerRecurrent(Node& node) {
    if (AttributeReader(node).String(kComputeType, "") != "int8") return;
    const auto w = MatchWeights(node.inputs[kRecurrentW], 3);
    const auto r = MatchWeights(node.inputs[kRecurrentR], 3);
    if (!w || !r || lowered_.value(node.inputs[kRecurrentX]).dtype != DataType::kFloat32) return;
    node.op = "Quantized" + node.op;
    node.inputs.resize(kRecurrentRScales + 1, kNoValue);
    node.inputs[kRecurrentW] = w->values;
    node.inputs[kRecurrentR] = r->values;
    node.inputs[kRecurrentWScales] = w->scales;
    node.inputs[kRecurrentRScales] = r->scales;
  }

  /// Takes out the nodes that nothing reads any more.
  void DropUnread() {
    std::vector<int32_t> uses = lowered_.UseCounts();
    std::vector<Node> kept;
    for (auto node = lowered_.nodes.rbegin(); node != lowered_.nodes.rend(); ++node) {
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
    lowered_.nodes = std::move(kept);
  }

  /// DequantizeLinear of a constant that is left: once, and not at every run.
  Status DequantizeConstants() {
    std::vector<Node> kept;
    for (Node& node : lowered_.nodes) {
      const bool constant =
          node.op == "DequantizeLinear" && std::ranges::all_of(node.inputs, [&](ValueId id) {
            return id == kNoValue || lowered_.constant(id) != nullptr;
          });
      const auto bytes = ByteSize(DataType::kFloat32, lowered_.value(node.outputs[0]).shape);
      if (!constant || !bytes.ok() || *bytes > dequantized_left_) {
        kept.push_back(std::move(node));
        continue;
      }
      dequantized_left_ -= *bytes;
      std::vector<TensorView> inputs;
      for (ValueId id : node.inputs) {
        inputs.push_back(id == kNoValue ? TensorView() : lowered_.constant(id)->view());
      }
      VERDICT_ASSIGN_OR_RETURN(auto results, EvaluateNode(node, inputs));
      lowered_.value(node.outputs[0]).constant =
          std::make_shared<const Constant>(std::move(results[0]));
    }
    lowered_.nodes = std::move(kept);
    return OkStatus();
  }

  Graph lowered_;
  std::vector<int32_t> producers_;  // of the graph as it came
  uint64_t dequantized_left_;
};

}  // namespace

Result<std::optional<Graph>> Lower(const Graph& graph) {
  const bool is_quantized = std::ranges::any_of(
      graph.nodes, [](const Node& node) { return node.op == "DequantizeLinear"; });
  if (!is_quantized) return std::optional<Graph>();
  return Lowering(graph).Run();
}

}  // namespace verdict
