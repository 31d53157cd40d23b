// Conv and the pools. Those over one axis are done over two, the first of extent 1.
#include <algorithm>

#include "backends/tensorrt/builders.h"
#include "backends/tensorrt/quantization.h"
#include "backends/tensorrt/shared_layers.h"
#include "ops/window.h"

namespace verdict::tensorrt {
namespace {

using nvinfer1::Dims;
using nvinfer1::PoolingType;
using nvinfer1::ReduceOperation;

Dims TwoDims(int64_t first, int64_t second) { return MakeDims(std::array{first, second}); }

bool IsSame(const Node& node) {
  return AttributeReader(node).String("auto_pad", "NOTSET").starts_with("SAME");
}

/// Outputs of symbolic axes are not told.
Result<Window> WindowOf(const Graph& graph, const Node& node, std::span<const int64_t> kernel) {
  std::vector<TensorView> inputs;
  for (ValueId id : node.inputs) {
    inputs.push_back(id == kNoValue
                         ? TensorView{}
                         : TensorView{graph.value(id).dtype, graph.value(id).shape, nullptr});
  }
  const InferContext context{.node = node, .inputs = inputs, .outputs = {}};
  Window window;
  VERDICT_RETURN_IF_ERROR(ReadWindow(context, kernel, inputs[0].shape, &window));
  return window;
}

Result<Window> RequireWindow(const Graph& graph, const Node& node,
                             std::span<const int64_t> kernel) {
  VERDICT_ASSIGN_OR_RETURN(const Window window, WindowOf(graph, node, kernel));
  for (const WindowAxis& axis : window) {
    if (IsSame(node) && IsSymbol(axis.input)) return Decline("SAME padding of an unknown extent");
  }
  return window;
}

std::span<const int64_t> KernelOf(const Graph& graph, const Node& node) {
  return InputShape(graph, node, 1).dims().subspan(2);
}

Status SupportsConv(const Graph& graph, const Node& node) {
  VERDICT_RETURN_IF_ERROR(RequireFloat32(graph, node));
  if (!IsFoldable(graph, node.inputs[1]) ||
      (HasInput(node, 2) && !IsFoldable(graph, node.inputs[2]))) {
    return Decline("weights that are computed");
  }
  if (IsSymbol(InputShape(graph, node, 0)[1])) return Decline("an unknown number of channels");
  return RequireWindow(graph, node, KernelOf(graph, node)).status();
}

/// [N, C, L] as [N, C, 1, L].
Result<ITensor*> WithTwoAxes(NetworkContext& context, ITensor* x) {
  if (x->getDimensions().nbDims == 4) return x;
  return context.Unsqueeze(x, 1U << 2);
}

Result<ITensor*> WithAxesOf(NetworkContext& context, ITensor* y, int rank) {
  if (rank == 4) return y;
  return context.Squeeze(y, 1U << 2);
}

Result<ITensor*> Convolved(NetworkContext& context, const Node& node) {
  const Graph& graph = context.graph();
  const Shape& w = context.InputShape(1);
  VERDICT_ASSIGN_OR_RETURN(const Window window, WindowOf(graph, node, KernelOf(graph, node)));
  const auto& [vertical, horizontal] = window;
  VERDICT_ASSIGN_OR_RETURN(ITensor * x, context.Input(0));
  VERDICT_ASSIGN_OR_RETURN(x, WithTwoAxes(context, x));
  // A kernel from a layer must come straight out of DequantizeLinear, so with two axes already.
  const bool is_quantized = w.rank() == 4 && IsQuantizedWeights(graph, node.inputs[1]);
  nvinfer1::Weights weights{Type::kFLOAT, nullptr, 0};
  if (!is_quantized) {
    VERDICT_ASSIGN_OR_RETURN(weights, FoldedWeights(context, node.inputs[1]));
  }
  nvinfer1::Weights bias{Type::kFLOAT, nullptr, 0};
  if (context.HasInput(2)) {
    VERDICT_ASSIGN_OR_RETURN(bias, FoldedWeights(context, node.inputs[2]));
  }
  nvinfer1::IConvolutionLayer* const layer = context.network().addConvolutionNd(
      *x, static_cast<int32_t>(w[0]), TwoDims(vertical.kernel, horizontal.kernel), weights, bias);
  if (layer != nullptr) {
    if (is_quantized) {
      VERDICT_ASSIGN_OR_RETURN(ITensor * tensor, context.Input(1));
      layer->setInput(1, *tensor);
    }
    layer->setStrideNd(TwoDims(vertical.stride, horizontal.stride));
    layer->setDilationNd(TwoDims(vertical.dilation, horizontal.dilation));
    layer->setPrePadding(TwoDims(vertical.pad_begin, horizontal.pad_begin));
    layer->setPostPadding(TwoDims(vertical.pad_end, horizontal.pad_end));
    layer->setNbGroups(static_cast<int32_t>(AttributeReader(node).Int("group", 1)));
  }
  VERDICT_ASSIGN_OR_RETURN(ITensor * y, context.Output(layer));
  return WithAxesOf(context, y, w.rank());
}

Status AddConv(NetworkContext& context, const Node& node) {
  return context.SetOutput(0, Convolved(context, node));
}

/// The padding at the end with which windows that all fit are as many as ceil_mode makes.
int64_t EndPadding(const WindowAxis& axis, bool ceil_mode) {
  if (!ceil_mode) return axis.pad_end;
  return std::max<int64_t>(
      (axis.output - 1) * axis.stride + axis.kernel - axis.input - axis.pad_begin, 0);
}

Status SupportsPool(const Graph& graph, const Node& node) {
  VERDICT_RETURN_IF_ERROR(RequireFloat32(graph, node));
  const AttributeReader attributes(node);
  const bool ceil_mode = attributes.Int("ceil_mode", 0) != 0 && !IsSame(node);
  VERDICT_ASSIGN_OR_RETURN(const Window window,
                           RequireWindow(graph, node, attributes.Ints("kernel_shape")));
  for (const WindowAxis& axis : window) {
    if (axis.dilation != 1) return Decline("a pool with dilations");
    if (ceil_mode && IsSymbol(axis.input)) return Decline("ceil_mode of an unknown extent");
    const int64_t end = EndPadding(axis, ceil_mode);
    if (axis.pad_begin >= axis.kernel || end >= axis.kernel) {
      return Decline("padding as wide as the pool's window");
    }
    if (ceil_mode && end > axis.pad_end && attributes.Int("count_include_pad", 0) != 0) {
      return Decline("count_include_pad where ceil_mode goes past the padding");
    }
  }
  return OkStatus();
}

Result<ITensor*> Pooled(NetworkContext& context, const Node& node, PoolingType type) {
  const AttributeReader attributes(node);
  const bool ceil_mode = attributes.Int("ceil_mode", 0) != 0 && !IsSame(node);
  VERDICT_ASSIGN_OR_RETURN(const Window window,
                           WindowOf(context.graph(), node, attributes.Ints("kernel_shape")));
  const auto& [vertical, horizontal] = window;
  VERDICT_ASSIGN_OR_RETURN(ITensor * x, context.Input(0));
  VERDICT_ASSIGN_OR_RETURN(x, WithTwoAxes(context, x));
  nvinfer1::IPoolingLayer* const layer =
      context.network().addPoolingNd(*x, type, TwoDims(vertical.kernel, horizontal.kernel));
  if (layer != nullptr) {
    layer->setStrideNd(TwoDims(vertical.stride, horizontal.stride));
    layer->setPrePadding(TwoDims(vertical.pad_begin, horizontal.pad_begin));
    layer->setPostPadding(
        TwoDims(EndPadding(vertical, ceil_mode), EndPadding(horizontal, ceil_mode)));
    layer->setAverageCountExcludesPadding(attributes.Int("count_include_pad", 0) == 0);
  }
  VERDICT_ASSIGN_OR_RETURN(ITensor * y, context.Output(layer));
  return WithAxesOf(context, y, context.InputShape(0).rank());
}

Status AddMaxPool(NetworkContext& context, const Node& node) {
  return context.SetOutput(0, Pooled(context, node, PoolingType::kMAX));
}

Status AddAveragePool(NetworkContext& context, const Node& node) {
  return context.SetOutput(0, Pooled(context, node, PoolingType::kAVERAGE));
}

Status AddGlobal(NetworkContext& context, ReduceOperation operation) {
  const uint32_t axes = (1U << context.InputShape(0).rank()) - (1U << 2);
  VERDICT_ASSIGN_OR_RETURN(ITensor * x, context.Input(0));
  return context.SetOutput(0, context.Reduce(x, operation, axes, true));
}

Status AddGlobalAverage(NetworkContext& context, const Node&) {
  return AddGlobal(context, ReduceOperation::kAVG);
}

Status AddGlobalMax(NetworkContext& context, const Node&) {
  return AddGlobal(context, ReduceOperation::kMAX);
}

constexpr NodeBuilder kBuilders[] = {
    {"AveragePool", SupportsPool, AddAveragePool},
    {"Conv", SupportsConv, AddConv},
    {"GlobalAveragePool", RequireFloat32, AddGlobalAverage},
    {"GlobalMaxPool", RequireFloat32, AddGlobalMax},
    {"MaxPool", SupportsPool, AddMaxPool},
};

}  // namespace

std::span<const NodeBuilder> ConvolutionBuilders() { return kBuilders; }

}  // namespace verdict::tensorrt
