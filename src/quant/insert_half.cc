#include "quant/insert_half.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <map>

#include "ops/half.h"
#include "ops/op.h"
#include "ops/recurrent.h"
#include "quant/inserted_nodes.h"

namespace verdict {
namespace {

// ONNX's numbers, which Cast's attribute `to` holds.
constexpr int64_t kOnnxFloat32 = 1, kOnnxFloat16 = 10, kOnnxBFloat16 = 16;

template <typename Half>
Constant Rounded(const TensorView& weights) {
  auto [constant, data] = Constant::Allocate(kDataTypeOf<Half>, weights.shape);
  std::ranges::transform(weights.as<const float>(), static_cast<Half*>(data), Half::Of);
  return std::move(constant);
}

/// What rounding may take off weights, of the sum of their sizes; a half's takes 0.2 % at most,
/// unless it ends at the least numbers of the type.
constexpr double kMostLost = 0.01;

float RoundedTo(DataType type, float value) {
  return type == DataType::kFloat16 ? Float16::Of(value).ToFloat() : BFloat16::Of(value).ToFloat();
}

/// False for a recurrent layer whose h may be larger than 1: where it is given, or comes of other
/// activations than the usual.
bool HasBoundedState(const Graph& graph, const QuantizableLayer& layer) {
  const Node& node = graph.nodes[static_cast<size_t>(layer.node)];
  if (node.op != "LSTM" && node.op != "GRU") return true;
  const bool is_given = node.inputs.size() > kRecurrentInitialH &&
                        node.inputs[kRecurrentInitialH] != kNoValue &&
                        graph.constant(node.inputs[kRecurrentInitialH]) == nullptr;
  const auto activations = AttributeReader(node).Strings("activations");
  return !is_given && std::ranges::all_of(activations, [](const std::string& name) {
    return name == "Sigmoid" || name == "Tanh";
  });
}

class Inserter {
 public:
  Inserter(Graph& graph, DataType type) : graph_(graph), type_(type) {}

  Status Convert(const QuantizableLayer& layer) {
    Node& node = graph_.nodes[static_cast<size_t>(layer.node)];
    std::vector<Node>& before = inserted_.Before(layer.node);
    if (node.op == "Gather") return ConvertTable(layer);
    if (node.op == "FusedGemm") {
      VERDICT_ASSIGN_OR_RETURN(node.inputs[1], Weights(node.inputs[1], before));
      node.inputs[0] = Activations(layer.input, before);
      return OkStatus();
    }
    for (size_t input : {kRecurrentW, kRecurrentR}) {
      VERDICT_ASSIGN_OR_RETURN(node.inputs[input], Weights(node.inputs[input], before));
    }
    node.attributes.insert_or_assign(
        std::string(kComputeType),
        std::string(type_ == DataType::kFloat16 ? "float16" : "bfloat16"));
    return OkStatus();
  }

  void Finish() { inserted_.InsertInto(graph_); }

 private:
  /// The Cast comes after the rows are taken.
  Status ConvertTable(const QuantizableLayer& layer) {
    Node& node = graph_.nodes[static_cast<size_t>(layer.node)];
    VERDICT_ASSIGN_OR_RETURN(node.inputs[0], Narrow(layer.weights));
    const Value output = graph_.value(node.outputs[0]);
    const ValueId rows = graph_.AddValue(HalfName(output.name), type_, output.shape);
    inserted_.After(layer.node)
        .push_back({.name = output.name + ".rounded",
                    .op = "Cast",
                    .inputs = {rows},
                    .outputs = {node.outputs[0]},
                    .attributes = {{"to", kOnnxFloat32}}});
    node.outputs[0] = rows;
    return OkStatus();
  }

  /// The weights in the half type, made once.
  Result<ValueId> Narrow(ValueId id) {
    const auto [at, is_new] = narrow_.try_emplace(id, kNoValue);
    if (!is_new) return at->second;
    const TensorView weights = graph_.constant(id)->view();
    const std::string name = graph_.value(id).name;
    for (float value : weights.as<const float>()) {
      // Not the other way round: NaN.
      if (std::fabs(value) <= LargestHalf(type_)) continue;
      return InvalidArgument("weights '" + name + "' hold " + std::to_string(value) + ", which " +
                             std::string(DataTypeName(type_)) +
                             " cannot; leave the layer in float32");
    }
    at->second = graph_.AddConstant(HalfName(name), type_ == DataType::kFloat16
                                                        ? Rounded<Float16>(weights)
                                                        : Rounded<BFloat16>(weights));
    return at->second;
  }

  /// The weights after their Cast, which the first layer that reads them has before it.
  Result<ValueId> Weights(ValueId id, std::vector<Node>& before) {
    if (const auto known = widened_.find(id); known != widened_.end()) return known->second;
    VERDICT_ASSIGN_OR_RETURN(const ValueId half, Narrow(id));
    const ValueId widened =
        Cast(half, graph_.value(id).name + ".rounded", DataType::kFloat32, before);
    widened_[id] = widened;
    return widened;
  }

  std::string HalfName(const std::string& name) const {
    return name + "." + std::string(DataTypeName(type_));
  }

  ValueId Cast(ValueId from, const std::string& name, DataType to, std::vector<Node>& before) {
    const int64_t number = to == DataType::kFloat32   ? kOnnxFloat32
                           : to == DataType::kFloat16 ? kOnnxFloat16
                                                      : kOnnxBFloat16;
    const ValueId cast = graph_.AddValue(name, to, graph_.value(from).shape);
    before.push_back({.name = name,
                      .op = "Cast",
                      .inputs = {from},
                      .outputs = {cast},
                      .attributes = {{"to", number}}});
    return cast;
  }

  /// The tensor after both Casts, which the first layer that reads it has before it.
  ValueId Activations(ValueId input, std::vector<Node>& before) {
    const auto [at, is_new] = rounded_.try_emplace(input, kNoValue);
    if (!is_new) return at->second;
    const std::string name = graph_.value(input).name;
    const ValueId half = Cast(input, HalfName(name), type_, before);
    return at->second = Cast(half, name + ".rounded", DataType::kFloat32, before);
  }

  Graph& graph_;
  const DataType type_;
  InsertedNodes inserted_;
  std::map<ValueId, ValueId> narrow_;
  std::map<ValueId, ValueId> widened_;
  std::map<ValueId, ValueId> rounded_;
};

}  // namespace

float LargestHalf(DataType type) { return type == DataType::kFloat16 ? 65504.0F : 0x1.FEp127F; }

std::string WhyHalfOverflows(const Graph& graph, const QuantizableLayer& layer, DataType type,
                             float largest_activation) {
  const float limit = LargestHalf(type);
  const auto text = [&](const std::string& what, float value) {
    std::array<char, 96> numbers;
    std::snprintf(numbers.data(), numbers.size(), " %g, more than the %g that %s holds",
                  static_cast<double>(value), static_cast<double>(limit),
                  std::string(DataTypeName(type)).c_str());
    return what + numbers.data();
  };
  if (!(largest_activation <= limit)) {
    return text("'" + graph.value(layer.input).name + "' reaches", largest_activation);
  }
  for (const ValueId id : WeightsOf(graph, layer)) {
    const auto weights = graph.constant(id)->view().as<const float>();
    const std::string name = "weights '" + graph.value(id).name + "'";
    double lost = 0, all = 0;
    for (const float value : weights) {
      if (!std::isfinite(value)) return name + " hold " + std::to_string(value);
      if (std::fabs(value) > limit) return text(name + " hold", value);
      lost += static_cast<double>(std::fabs(value - RoundedTo(type, value)));
      all += static_cast<double>(std::fabs(value));
    }
    if (lost > kMostLost * all) {
      return name + " are too small for " + std::string(DataTypeName(type));
    }
  }
  if (type == DataType::kFloat16 && !HasBoundedState(graph, layer)) {
    return "its state may be larger than what f16 holds";
  }
  return "";
}

Status InsertHalf(Graph& graph, std::span<const QuantizableLayer> layers, DataType type) {
  if (!IsHalf(type)) {
    return InvalidArgument(std::string(DataTypeName(type)) +
                           " is no half-precision type; there are f16 and bf16");
  }
  Inserter inserter(graph, type);
  for (const QuantizableLayer& layer : layers) VERDICT_RETURN_IF_ERROR(inserter.Convert(layer));
  inserter.Finish();
  return OkStatus();
}

}  // namespace verdict
