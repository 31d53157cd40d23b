#include "backends/tensorrt/network_builder.h"

#include <algorithm>

#include "backends/tensorrt/builders.h"
#include "backends/tensorrt/quantization.h"

namespace verdict::tensorrt {
namespace {

using Family = std::span<const NodeBuilder> (*)();

constexpr Family kFamilies[] = {
    ActivationBuilders,    AttentionBuilders,    BinaryBuilders, CastBuilders,
    ConvolutionBuilders,   FeatureBuilders,      GatherBuilders, GemmBuilders,
    NormalizationBuilders, QuantizationBuilders, RangeBuilders,  RecurrentBuilders,
    ReduceBuilders,        ShapeBuilders,        SliceBuilders,  UnaryBuilders,
};

/// Those whose tensors of uint8 are tensors of int8 or float32 in the network.
bool ConvertsUint8(const Graph& graph, const Node& node) {
  return node.op == "QuantizeLinear" || node.op == "DequantizeLinear" ||
         DequantizedTable(graph, node) != nullptr;
}

/// Checks what holds for the values of all operators.
Status SupportsValue(const Graph& graph, const Node& node, ValueId id) {
  if (id == kNoValue) return OkStatus();
  const Value& value = graph.value(id);
  if (value.dtype != DataType::kUInt8 || !ConvertsUint8(graph, node)) {
    VERDICT_RETURN_IF_ERROR(DeviceType(value.dtype).status());
  }
  VERDICT_RETURN_IF_ERROR(DeviceDims(value.shape).status());
  // Concat passes over empty constants.
  const bool is_skipped = node.op == "Concat" && graph.constant(id) != nullptr;
  if (!is_skipped && std::ranges::count(value.shape.dims(), 0) > 0) {
    return Decline("an empty tensor");
  }
  return OkStatus();
}

/// The type of a graph's input or output on the device.
Result<Type> BorderType(const Graph& graph, ValueId id) {
  const Value& value = graph.value(id);
  auto type = DeviceType(value.dtype);
  if (!type.ok()) return type.status().WithContext("'" + value.name + "'");
  if (*type == Type::kINT8) {
    return Decline("'" + value.name + "': a graph's inputs and outputs cannot be i8");
  }
  return type;
}

Status AddInputs(NetworkContext& context) {
  const Graph& graph = context.graph();
  for (size_t i = 0; i < graph.inputs.size(); ++i) {
    const Value& value = graph.value(graph.inputs[i]);
    VERDICT_ASSIGN_OR_RETURN(const Type type, BorderType(graph, graph.inputs[i]));
    VERDICT_ASSIGN_OR_RETURN(const nvinfer1::Dims dims, DeviceDims(value.shape));
    const std::string name = "in" + std::to_string(i);
    ITensor* const tensor = context.network().addInput(name.c_str(), type, dims);
    if (tensor == nullptr) {
      return Internal("TensorRT refused input '" + value.name + "' of shape " +
                      graph.ShapeText(value.shape) + "; its own message is in the log");
    }
    for (int axis = 0; axis < value.shape.rank(); ++axis) {
      // Extents of one name are equal, which TensorRT uses.
      if (!IsSymbol(value.shape[axis])) continue;
      tensor->setDimensionName(axis, ("dim" + std::to_string(-value.shape[axis])).c_str());
    }
    context.Set(graph.inputs[i], tensor);
  }
  return OkStatus();
}

/// An input, a constant or another output cannot be an output: a copy can.
Status MarkOutputs(NetworkContext& context) {
  const Graph& graph = context.graph();
  for (size_t i = 0; i < graph.outputs.size(); ++i) {
    const Value& value = graph.value(graph.outputs[i]);
    VERDICT_ASSIGN_OR_RETURN(const Type type, BorderType(graph, graph.outputs[i]));
    auto source = context.Tensor(graph.outputs[i]);
    if (!source.ok()) return source.status().WithContext("output '" + value.name + "'");
    ITensor* tensor = *source;
    if (tensor->getType() != type) {
      VERDICT_ASSIGN_OR_RETURN(tensor, context.Cast(tensor, type));
    }
    if (tensor->isNetworkInput() || tensor->isNetworkOutput() ||
        graph.constant(graph.outputs[i]) != nullptr) {
      VERDICT_ASSIGN_OR_RETURN(tensor, context.Output(context.network().addIdentity(*tensor)));
    }
    tensor->setName(("out" + std::to_string(i)).c_str());
    context.network().markOutput(*tensor);
#if NV_TENSORRT_MAJOR < 10
    tensor->setType(type);  // else floats would be f32, whatever the layer gives
#endif
  }
  return OkStatus();
}

}  // namespace

const NodeBuilder* FindBuilder(std::string_view op) {
  for (const Family family : kFamilies) {
    for (const NodeBuilder& builder : family()) {
      if (builder.op == op) return &builder;
    }
  }
  return nullptr;
}

Status SupportsNode(const Graph& graph, const Node& node) {
  const NodeBuilder* builder = FindBuilder(node.op);
  if (builder == nullptr) return Decline("the operator has no layers in TensorRT");
  for (const ValueId id : node.inputs) {
    VERDICT_RETURN_IF_ERROR(SupportsValue(graph, node, id));
  }
  for (const ValueId id : node.outputs) {
    VERDICT_RETURN_IF_ERROR(SupportsValue(graph, node, id));
  }
  return builder->supports(graph, node);
}

Status BuildNetwork(const Graph& graph, const NetworkOptions& options,
                    nvinfer1::INetworkDefinition& network, NetworkStorage& storage) {
  NetworkContext context(graph, options, network, storage);
  VERDICT_RETURN_IF_ERROR(AddInputs(context));
  for (const Node& node : graph.nodes) {
    Status status = SupportsNode(graph, node);
    if (!status.ok()) return status.WithContext(Graph::Describe(node));
    context.SetNode(&node);
    status = FindBuilder(node.op)->add(context, node);
    if (!status.ok()) {
      // Layers that were refused name their node already.
      return status.code() == StatusCode::kInternal ? status
                                                    : status.WithContext(Graph::Describe(node));
    }
  }
  context.SetNode(nullptr);
  VERDICT_RETURN_IF_ERROR(MarkOutputs(context));
  return context.NameWeights();
}

}  // namespace verdict::tensorrt
