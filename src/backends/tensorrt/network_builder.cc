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

/// Whose further inputs are indices.
constexpr std::string_view kIndexed[] = {"ArrayFeatureExtractor", "Gather", "GatherElements",
                                         "GatherND"};

/// The inputs whose large numbers are large in the outputs too; none where it sums over features,
/// or squashes.
std::span<const ValueId> PassedOn(const Node& node) {
  static constexpr std::string_view kFirst[] = {"Abs",        "ArrayFeatureExtractor",
                                                "Cast",       "Clip",
                                                "Elu",        "Expand",
                                                "Gather",     "GatherElements",
                                                "GatherND",   "Identity",
                                                "Imputer",    "LeakyRelu",
                                                "Neg",        "PRelu",
                                                "Pad",        "ReduceMax",
                                                "ReduceMean", "ReduceMin",
                                                "ReduceSum",  "Relu",
                                                "Reshape",    "Scaler",
                                                "Slice",      "Split",
                                                "Tile",       "Transpose"};
  static constexpr std::string_view kAll[] = {"Add", "Concat", "Div",  "FeatureVectorizer",
                                              "Max", "Mean",   "Min",  "Mul",
                                              "Sub", "Sum",    "Where"};
  const std::span<const ValueId> inputs = node.inputs;
  if (std::ranges::find(kFirst, node.op) != std::end(kFirst)) return inputs.first(1);
  return std::ranges::find(kAll, node.op) != std::end(kAll) ? inputs : inputs.first(0);
}

}  // namespace

std::vector<bool> ReadsRawInputs(const Graph& graph) {
  std::vector<bool> raw_values(static_cast<size_t>(graph.num_values()));
  const auto mark = [&](ValueId id) {
    if (id == kNoValue || graph.value(id).dtype == DataType::kBool) return;
    raw_values[static_cast<size_t>(id)] = true;
  };
  const auto is_raw = [&](ValueId id) {
    return id != kNoValue && raw_values[static_cast<size_t>(id)];
  };
  std::ranges::for_each(graph.inputs, mark);
  std::vector<bool> reads(graph.nodes.size());
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    const bool passes = std::ranges::any_of(PassedOn(node), is_raw);
    const bool gathers = std::ranges::find(kIndexed, node.op) != std::end(kIndexed);
    // A quantizer's scale is of the inputs' own range, and indices are no amounts.
    reads[i] = passes || (!gathers && node.op != "QuantizeLinear" &&
                          std::ranges::any_of(node.inputs, is_raw));
    if (passes) std::ranges::for_each(node.outputs, mark);
  }
  return reads;
}

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
  const std::vector<bool> reads_raw = ReadsRawInputs(graph);
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    const int first_layer = network.getNbLayers();
    Status status = SupportsNode(graph, node);
    if (!status.ok()) return status.WithContext(Graph::Describe(node));
    context.SetNode(&node);
    status = FindBuilder(node.op)->add(context, node);
    if (!status.ok()) {
      // Layers that were refused name their node already.
      return status.code() == StatusCode::kInternal ? status
                                                    : status.WithContext(Graph::Describe(node));
    }
    if (options.keep_inputs_float32 && reads_raw[i]) context.KeepFloat32(first_layer);
  }
  context.SetNode(nullptr);
  VERDICT_RETURN_IF_ERROR(MarkOutputs(context));
  return context.NameWeights();
}

}  // namespace verdict::tensorrt
