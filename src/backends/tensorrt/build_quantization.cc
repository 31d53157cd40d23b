// QuantizeLinear and DequantizeLinear: symmetric int8. Of uint8 with a zero point of 128 the
// tensors of the network hold 128 less, as int8 with a zero point of 0.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "backends/tensorrt/builders.h"
#include "backends/tensorrt/quantization.h"
#include "backends/tensorrt/shared_layers.h"
#include "ops/evaluate.h"
#include "ops/op.h"

namespace verdict::tensorrt {
namespace {

constexpr uint8_t kUnsignedZeroPoint = 128;

template <typename T>
bool AllEqual(const Constant& values, T wanted) {
  return std::ranges::all_of(values.view().as<const T>(), [&](T value) { return value == wanted; });
}

/// Of either node. quantized: the value on its quantized side.
Status SupportsScaling(const Graph& graph, const Node& node, ValueId quantized) {
  const Constant* scale = graph.constant(node.inputs[1]);
  const Constant* zero = HasInput(node, 2) ? graph.constant(node.inputs[2]) : nullptr;
  if (scale == nullptr || (zero == nullptr && HasInput(node, 2))) {
    return Decline("a scale or zero point that is computed");
  }
  for (const float value : scale->view().as<const float>()) {
    if (!std::isfinite(value) || value <= 0) return Decline("a scale that is not above 0");
  }
  const DataType type = graph.value(quantized).dtype;
  const bool is_symmetric = type == DataType::kInt8
                                ? zero == nullptr || AllEqual<int8_t>(*zero, 0)
                                : type == DataType::kUInt8 && zero != nullptr &&
                                      AllEqual<uint8_t>(*zero, kUnsignedZeroPoint);
  return is_symmetric ? OkStatus() : Decline("a zero point other than 0 of i8 and 128 of u8");
}

Status RequireOneScale(const Graph& graph, const Node& node) {
  if (graph.constant(node.inputs[1])->view().size() == 1) return OkStatus();
  return Decline("activations with a scale for each channel");
}

/// What is quantized must be dequantized in the same network: nothing else reads int8 there.
Status SupportsQuantize(const Graph& graph, const Node& node) {
  const ValueId quantized = node.outputs[0];
  VERDICT_RETURN_IF_ERROR(SupportsScaling(graph, node, quantized));
  VERDICT_RETURN_IF_ERROR(RequireOneScale(graph, node));
  if (std::ranges::find(graph.outputs, quantized) != graph.outputs.end()) {
    return Decline("a quantized output");
  }
  for (const Node& user : graph.nodes) {
    if (std::ranges::find(user.inputs, quantized) == user.inputs.end()) continue;
    if (user.op != "DequantizeLinear")
      return Decline("a quantized tensor that " + user.op + " reads");
    VERDICT_RETURN_IF_ERROR(SupportsScaling(graph, user, quantized));
    VERDICT_RETURN_IF_ERROR(RequireOneScale(graph, user));
  }
  return OkStatus();
}

Status SupportsDequantize(const Graph& graph, const Node& node) {
  const ValueId quantized = node.inputs[0];
  if (IsFoldable(graph, node.outputs[0])) return OkStatus();
  const Node* made = Producer(graph, quantized);
  if (made != nullptr && DequantizedTable(graph, *made) != nullptr) return OkStatus();
  if (made == nullptr || made->op != "QuantizeLinear") {
    return Decline("a quantized tensor that does not come out of QuantizeLinear");
  }
  return SupportsQuantize(graph, *made);
}

Status AddQuantize(NetworkContext& context, const Node&) {
  VERDICT_ASSIGN_OR_RETURN(ITensor * x, context.Input(0));
  VERDICT_ASSIGN_OR_RETURN(ITensor * scale, context.Input(1));
#if NV_TENSORRT_MAJOR >= 10
  return context.SetOutput(0,
                           context.Output(context.network().addQuantize(*x, *scale, Type::kINT8)));
#else
  return context.SetOutput(0, context.Output(context.network().addQuantize(*x, *scale)));
#endif
}

/// Weights of int8 as they are, of uint8 less their zero point.
Result<ITensor*> QuantizedConstant(NetworkContext& context, ValueId id) {
  const Constant& constant = *context.graph().constant(id);
  if (constant.dtype == DataType::kInt8) return context.Tensor(id);
  const auto from = constant.view().as<const uint8_t>();
  std::vector<int8_t> values(from.size());
  std::ranges::transform(from, values.begin(), [](uint8_t value) {
    return static_cast<int8_t>(int{value} - int{kUnsignedZeroPoint});
  });
  VERDICT_ASSIGN_OR_RETURN(const nvinfer1::Dims dims, DeviceDims(constant.shape));
  return context.AddConstant(
      dims, context.StoredBytes(Type::kINT8, values.data(), values.size(), std::ssize(values)));
}

Result<ITensor*> Dequantized(NetworkContext& context, const Node& node) {
  const Graph& graph = context.graph();
  const Node* made = Producer(graph, node.inputs[0]);
  if (made != nullptr && DequantizedTable(graph, *made) != nullptr) return context.Input(0);
  const bool is_constant = IsFoldable(graph, node.outputs[0]);
  const bool stays_int8 = is_constant && IsQuantizedWeights(graph, node.outputs[0]);
  if (is_constant && !stays_int8) return FoldedTensor(context, node.outputs[0]);
  ITensor* quantized = nullptr;
  if (is_constant) {
    VERDICT_ASSIGN_OR_RETURN(quantized, QuantizedConstant(context, node.inputs[0]));
  } else {
    VERDICT_ASSIGN_OR_RETURN(quantized, context.Input(0));
  }
  VERDICT_ASSIGN_OR_RETURN(ITensor * scale, context.Input(1));
#if NV_TENSORRT_MAJOR >= 10
  nvinfer1::IDequantizeLayer* const layer =
      context.network().addDequantize(*quantized, *scale, Type::kFLOAT);
#else
  nvinfer1::IDequantizeLayer* const layer = context.network().addDequantize(*quantized, *scale);
#endif
  if (layer != nullptr && graph.constant(node.inputs[1])->view().size() != 1) {
    const int64_t axis = AttributeReader(node).Int("axis", 1);
    layer->setAxis(static_cast<int32_t>(axis < 0 ? axis + context.InputShape(0).rank() : axis));
  }
  return context.Output(layer);
}

Status AddDequantize(NetworkContext& context, const Node& node) {
  return context.SetOutput(0, Dequantized(context, node));
}

constexpr NodeBuilder kBuilders[] = {
    {"DequantizeLinear", SupportsDequantize, AddDequantize},
    {"QuantizeLinear", SupportsQuantize, AddQuantize},
};

}  // namespace

bool IsQuantizedWeights(const Graph& graph, ValueId id) {
  const Node* dequantize = Producer(graph, id);
  if (dequantize == nullptr || dequantize->op != "DequantizeLinear") return false;
  if (graph.constant(dequantize->inputs[0]) == nullptr ||
      !SupportsScaling(graph, *dequantize, dequantize->inputs[0]).ok()) {
    return false;
  }
  return std::ranges::any_of(graph.nodes, [&](const Node& node) {
    constexpr std::string_view kProducts[] = {"Conv", "FusedGemm", "Gemm", "MatMul"};
    if (std::ranges::find(kProducts, node.op) == std::end(kProducts) || node.inputs[1] != id) {
      return false;
    }
    const Node* activations = Producer(graph, node.inputs[0]);
    return activations != nullptr && activations->op == "DequantizeLinear" &&
           graph.constant(activations->inputs[0]) == nullptr;
  });
}

const Node* DequantizedTable(const Graph& graph, const Node& gather) {
  if (gather.op != "Gather" || AttributeReader(gather).Int("axis", 0) != 0) return nullptr;
  const Constant* table = graph.constant(gather.inputs[0]);
  if (table == nullptr || table->shape.rank() != 2 || ElementSize(table->dtype) != 1)
    return nullptr;
  const ValueId rows = gather.outputs[0];
  if (std::ranges::find(graph.outputs, rows) != graph.outputs.end()) return nullptr;
  const Node* dequantize = nullptr;
  for (const Node& node : graph.nodes) {
    if (std::ranges::find(node.inputs, rows) == node.inputs.end()) continue;
    if (node.op != "DequantizeLinear" || dequantize != nullptr) return nullptr;
    dequantize = &node;
  }
  if (dequantize == nullptr) return nullptr;
  const Constant* scale = graph.constant(dequantize->inputs[1]);
  if (scale == nullptr ||
      (HasInput(*dequantize, 2) && graph.constant(dequantize->inputs[2]) == nullptr)) {
    return nullptr;
  }
  const int64_t axis = AttributeReader(*dequantize).Int("axis", 1);
  const int64_t last = graph.value(rows).shape.rank() - 1;
  return scale->view().size() == 1 || axis == last || axis == -1 ? dequantize : nullptr;
}

Result<ITensor*> DequantizedTableTensor(NetworkContext& context, const Node& gather) {
  const Graph& graph = context.graph();
  Node node = *DequantizedTable(graph, gather);
  node.inputs[0] = gather.inputs[0];
  node.attributes.insert_or_assign("axis", int64_t{1});
  std::vector<TensorView> inputs;
  for (const ValueId id : node.inputs) {
    inputs.push_back(id == kNoValue ? TensorView{} : graph.constant(id)->view());
  }
  VERDICT_ASSIGN_OR_RETURN(const auto outputs, EvaluateNode(node, inputs));
  VERDICT_ASSIGN_OR_RETURN(const nvinfer1::Dims dims, DeviceDims(outputs[0].shape));
  return context.AddConstant(dims, context.StoredWeights(outputs[0].view().as<const float>()));
}

std::span<const NodeBuilder> QuantizationBuilders() { return kBuilders; }

}  // namespace verdict::tensorrt
