#include <limits>
#include <numeric>
#include <vector>

#include "backends/tensorrt/builders.h"
#include "ops/op.h"

namespace verdict::tensorrt {
namespace {

using nvinfer1::ElementWiseOperation;
using nvinfer1::ReduceOperation;
using nvinfer1::UnaryOperation;

/// Index masks of more elements than this are not worth their constant.
constexpr int64_t kMostIndices = 1 << 16;
/// "Currently only values of K up to 3840 are supported", says TensorRT.
constexpr int64_t kMostTopK = 3840;

/// The axes to reduce, one bit each; the shape rule has checked them.
Result<uint32_t> ReducedAxes(const Graph& graph, const Node& node) {
  const int rank = InputShape(graph, node, 0).rank();
  std::vector<int64_t> axes;
  if (HasInput(node, 1)) {
    VERDICT_ASSIGN_OR_RETURN(axes, IntConstant(graph, node, 1));
  }
  if (axes.empty()) {
    const bool none = AttributeReader(node).Int("noop_with_empty_axes", 0) != 0;
    return none ? 0U : (1U << rank) - 1;
  }
  uint32_t mask = 0;
  for (const int64_t axis : axes) mask |= 1U << (axis < 0 ? axis + rank : axis);
  return mask;
}

Status SupportsFloats(const Graph& graph, const Node& node) {
  if (InputType(graph, node, 0) != DataType::kFloat32) return Decline("only f32 is supported");
  return ReducedAxes(graph, node).status();
}

Status SupportsNumbers(const Graph& graph, const Node& node) {
  const DataType dtype = InputType(graph, node, 0);
  if (dtype != DataType::kInt32 && dtype != DataType::kInt64) return SupportsFloats(graph, node);
  VERDICT_RETURN_IF_ERROR(RequireExactIntegers(graph, node));
  return ReducedAxes(graph, node).status();
}

bool KeepsDimensions(const Node& node) { return AttributeReader(node).Int("keepdims", 1) != 0; }

enum class Before { kNothing, kSquare, kAbs };
enum class After { kNothing, kSqrt, kLog };

template <ReduceOperation kOperation, Before kBefore = Before::kNothing,
          After kAfter = After::kNothing>
Status Add(NetworkContext& context, const Node& node) {
  VERDICT_ASSIGN_OR_RETURN(const uint32_t axes, ReducedAxes(context.graph(), node));
  VERDICT_ASSIGN_OR_RETURN(ITensor * x, context.Input(0));
  if (kBefore == Before::kSquare) {
    VERDICT_ASSIGN_OR_RETURN(x, context.Elementwise(x, x, ElementWiseOperation::kPROD));
  } else if (kBefore == Before::kAbs) {
    VERDICT_ASSIGN_OR_RETURN(x, context.Unary(x, UnaryOperation::kABS));
  }
  VERDICT_ASSIGN_OR_RETURN(x, context.Reduce(x, kOperation, axes, KeepsDimensions(node)));
  if (kAfter == After::kSqrt) {
    VERDICT_ASSIGN_OR_RETURN(x, context.Unary(x, UnaryOperation::kSQRT));
  } else if (kAfter == After::kLog) {
    VERDICT_ASSIGN_OR_RETURN(x, context.Unary(x, UnaryOperation::kLOG));
  }
  return context.SetOutput(0, x);
}

/// The extreme, plus a sum of the NaNs and of zeros for all others: NaN where one is, which
/// TensorRT's own may pass over.
template <ReduceOperation kOperation>
Status AddExtreme(NetworkContext& context, const Node& node) {
  VERDICT_ASSIGN_OR_RETURN(const uint32_t axes, ReducedAxes(context.graph(), node));
  const bool keep = KeepsDimensions(node);
  VERDICT_ASSIGN_OR_RETURN(ITensor* const x, context.Input(0));
  VERDICT_ASSIGN_OR_RETURN(ITensor* const extreme, context.Reduce(x, kOperation, axes, keep));
  if (x->getType() != Type::kFLOAT || axes == 0) return context.SetOutput(0, extreme);
  VERDICT_ASSIGN_OR_RETURN(ITensor* const is_nan, AddIsNan(context, x));
  VERDICT_ASSIGN_OR_RETURN(ITensor* const zero,
                           context.Scalar(Type::kFLOAT, 0, x->getDimensions().nbDims));
  VERDICT_ASSIGN_OR_RETURN(ITensor * nans, context.Select(is_nan, x, zero));
  VERDICT_ASSIGN_OR_RETURN(nans, context.Reduce(nans, ReduceOperation::kSUM, axes, keep));
  return context.SetOutput(0, context.Elementwise(extreme, nans, ElementWiseOperation::kSUM));
}

/// log(sum(exp(x - max))) + max, where max is 0 instead of an infinity.
Status AddLogSumExp(NetworkContext& context, const Node& node) {
  VERDICT_ASSIGN_OR_RETURN(const uint32_t axes, ReducedAxes(context.graph(), node));
  VERDICT_ASSIGN_OR_RETURN(ITensor * x, context.Input(0));
  const int rank = x->getDimensions().nbDims;
  VERDICT_ASSIGN_OR_RETURN(ITensor * max, context.Reduce(x, ReduceOperation::kMAX, axes, true));
  VERDICT_ASSIGN_OR_RETURN(ITensor * size, context.Unary(max, UnaryOperation::kABS));
  VERDICT_ASSIGN_OR_RETURN(ITensor* const is_finite,
                           context.Elementwise(size, std::numeric_limits<double>::infinity(),
                                               ElementWiseOperation::kLESS));
  VERDICT_ASSIGN_OR_RETURN(ITensor* const zero, context.Scalar(Type::kFLOAT, 0, rank));
  VERDICT_ASSIGN_OR_RETURN(max, context.Select(is_finite, max, zero));
  VERDICT_ASSIGN_OR_RETURN(x, context.Elementwise(x, max, ElementWiseOperation::kSUB));
  VERDICT_ASSIGN_OR_RETURN(x, context.Unary(x, UnaryOperation::kEXP));
  VERDICT_ASSIGN_OR_RETURN(x, context.Reduce(x, ReduceOperation::kSUM, axes, true));
  VERDICT_ASSIGN_OR_RETURN(x, context.Unary(x, UnaryOperation::kLOG));
  VERDICT_ASSIGN_OR_RETURN(x, context.Elementwise(x, max, ElementWiseOperation::kSUM));
  return context.SetOutput(0, KeepsDimensions(node) || axes == 0 ? x : context.Squeeze(x, axes));
}

Status SupportsArg(const Graph& graph, const Node& node) {
  const AttributeReader attributes(node);
  const DataType dtype = InputType(graph, node, 0);
  if (dtype != DataType::kFloat32 && dtype != DataType::kInt32) {
    return Decline("only f32 and i32 are supported");
  }
  if (attributes.Int("select_last_index", 0) != 0) return Decline("the last of equal elements");
  const Shape& shape = InputShape(graph, node, 0);
  const Dim extent = shape[AxisOf(node, 0, shape.rank())];
  if (IsSymbol(extent) || extent > kMostIndices) {
    return Decline("the axis has no fixed extent up to " + std::to_string(kMostIndices));
  }
  return OkStatus();
}

template <bool kGreatest>
Status AddArg(NetworkContext& context, const Node& node) {
  const Shape& shape = context.InputShape(0);
  const int axis = AxisOf(node, 0, shape.rank());
  VERDICT_ASSIGN_OR_RETURN(ITensor* const x, context.Input(0));
  VERDICT_ASSIGN_OR_RETURN(ITensor * index, AddArgMax(context, x, axis, shape[axis], kGreatest));
  VERDICT_ASSIGN_OR_RETURN(index, context.Cast(index, kIndexType));
  return context.SetOutput(0, KeepsDimensions(node) ? index : context.Squeeze(index, 1U << axis));
}

/// TensorRT does not say which of equal elements it names, so that only the values may be read.
Status SupportsTopK(const Graph& graph, const Node& node) {
  if (InputType(graph, node, 0) != DataType::kFloat32) return Decline("only f32 is supported");
  VERDICT_ASSIGN_OR_RETURN(const std::vector<int64_t> k, IntConstant(graph, node, 1));
  if (k[0] < 1 || k[0] > kMostTopK) return Decline("K must be 1 to 3840");
  const Shape& shape = InputShape(graph, node, 0);
  if (AxisOf(node, -1, shape.rank()) < shape.rank() - 4) {
    return Decline("the axis must be one of the last four");
  }
  if (node.outputs[1] != kNoValue && graph.UseCounts()[static_cast<size_t>(node.outputs[1])] > 0) {
    return Decline("which of equal elements is named first");
  }
  return OkStatus();
}

Status AddTopK(NetworkContext& context, const Node& node) {
  VERDICT_ASSIGN_OR_RETURN(const std::vector<int64_t> k, IntConstant(context.graph(), node, 1));
  const int axis = AxisOf(node, -1, context.InputShape(0).rank());
  const auto operation = AttributeReader(node).Int("largest", 1) != 0
                             ? nvinfer1::TopKOperation::kMAX
                             : nvinfer1::TopKOperation::kMIN;
  VERDICT_ASSIGN_OR_RETURN(ITensor * x, context.Input(0));
  const bool is_list = x->getDimensions().nbDims == 1;  // the layer wants two axes
  if (is_list) {
    VERDICT_ASSIGN_OR_RETURN(x, context.Unsqueeze(x, 2));
  }
  const auto count = static_cast<int32_t>(k[0]);
#if NV_TENSORRT_MAJOR >= 11 || (NV_TENSORRT_MAJOR == 10 && NV_TENSORRT_MINOR >= 14)
  auto* layer = context.network().addTopK(*x, operation, count, 1U << axis, Type::kINT32);
#else
  auto* layer = context.network().addTopK(*x, operation, count, 1U << axis);
#endif
  VERDICT_ASSIGN_OR_RETURN(ITensor* const values, context.Output(layer));
  return context.SetOutput(0, is_list ? context.Squeeze(values, 2) : values);
}

Status AddSoftmaxNode(NetworkContext& context, const Node& node) {
  VERDICT_ASSIGN_OR_RETURN(ITensor* const x, context.Input(0));
  return context.SetOutput(0,
                           AddSoftmax(context, x, AxisOf(node, -1, context.InputShape(0).rank())));
}

/// x - max - log(sum(exp(x - max))): the logarithm of a softmax would lose what is small.
Status AddLogSoftmax(NetworkContext& context, const Node& node) {
  const uint32_t axes = 1U << AxisOf(node, -1, context.InputShape(0).rank());
  VERDICT_ASSIGN_OR_RETURN(ITensor * x, context.Input(0));
  VERDICT_ASSIGN_OR_RETURN(ITensor* const max,
                           context.Reduce(x, ReduceOperation::kMAX, axes, true));
  VERDICT_ASSIGN_OR_RETURN(x, context.Elementwise(x, max, ElementWiseOperation::kSUB));
  VERDICT_ASSIGN_OR_RETURN(ITensor * sum, context.Unary(x, UnaryOperation::kEXP));
  VERDICT_ASSIGN_OR_RETURN(sum, context.Reduce(sum, ReduceOperation::kSUM, axes, true));
  VERDICT_ASSIGN_OR_RETURN(sum, context.Unary(sum, UnaryOperation::kLOG));
  return context.SetOutput(0, context.Elementwise(x, sum, ElementWiseOperation::kSUB));
}

constexpr NodeBuilder kBuilders[] = {
    {"ArgMax", SupportsArg, AddArg<true>},
    {"ArgMin", SupportsArg, AddArg<false>},
    {"LogSoftmax", RequireFloat32, AddLogSoftmax},
    {"ReduceL1", SupportsFloats, Add<ReduceOperation::kSUM, Before::kAbs>},
    {"ReduceL2", SupportsFloats, Add<ReduceOperation::kSUM, Before::kSquare, After::kSqrt>},
    {"ReduceLogSum", SupportsFloats, Add<ReduceOperation::kSUM, Before::kNothing, After::kLog>},
    {"ReduceLogSumExp", SupportsFloats, AddLogSumExp},
    {"ReduceMax", SupportsNumbers, AddExtreme<ReduceOperation::kMAX>},
    {"ReduceMean", SupportsFloats, Add<ReduceOperation::kAVG>},
    {"ReduceMin", SupportsNumbers, AddExtreme<ReduceOperation::kMIN>},
    {"ReduceProd", SupportsNumbers, Add<ReduceOperation::kPROD>},
    {"ReduceSum", SupportsNumbers, Add<ReduceOperation::kSUM>},
    {"ReduceSumSquare", SupportsNumbers, Add<ReduceOperation::kSUM, Before::kSquare>},
    {"Softmax", RequireFloat32, AddSoftmaxNode},
    {"TopK", SupportsTopK, AddTopK},
};

}  // namespace

Result<ITensor*> AddArgMax(NetworkContext& context, ITensor* input, int axis, int64_t extent,
                           bool greatest) {
  const int rank = input->getDimensions().nbDims;
  const uint32_t axes = 1U << axis;
  ITensor* x = input;
  ITensor* is_nan = nullptr;
  if (input->getType() == Type::kFLOAT) {
    // NaN never wins against a number, but nothing wins against a NaN that comes first.
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    VERDICT_ASSIGN_OR_RETURN(is_nan, AddIsNan(context, input));
    VERDICT_ASSIGN_OR_RETURN(ITensor* const worst,
                             context.Scalar(Type::kFLOAT, greatest ? -kInfinity : kInfinity, rank));
    VERDICT_ASSIGN_OR_RETURN(x, context.Select(is_nan, worst, input));
  }
  VERDICT_ASSIGN_OR_RETURN(
      ITensor* const best,
      context.Reduce(x, greatest ? ReduceOperation::kMAX : ReduceOperation::kMIN, axes, true));
  VERDICT_ASSIGN_OR_RETURN(ITensor* const is_best,
                           context.Elementwise(x, best, ElementWiseOperation::kEQUAL));
  // The least index of those that are the best.
  std::vector<int64_t> dims(static_cast<size_t>(rank), 1);
  dims[static_cast<size_t>(axis)] = extent;
  std::vector<int32_t> numbers(static_cast<size_t>(extent));
  std::iota(numbers.begin(), numbers.end(), 0);
  VERDICT_ASSIGN_OR_RETURN(
      ITensor* const indices,
      context.AddConstant(MakeDims(dims),
                          context.StoredWeights(std::span<const int32_t>(numbers))));
  VERDICT_ASSIGN_OR_RETURN(ITensor* const past,
                           context.Scalar(Type::kINT32, static_cast<double>(extent - 1), rank));
  VERDICT_ASSIGN_OR_RETURN(ITensor * index, context.Select(is_best, indices, past));
  VERDICT_ASSIGN_OR_RETURN(index, context.Reduce(index, ReduceOperation::kMIN, axes, true));
  if (is_nan == nullptr) return index;
  // 0 where the first is NaN: the least of index and (first is NaN ? 0 : extent - 1).
  std::vector<int32_t> first(static_cast<size_t>(extent), static_cast<int32_t>(extent - 1));
  first[0] = 0;
  VERDICT_ASSIGN_OR_RETURN(
      ITensor* const is_first,
      context.AddConstant(MakeDims(dims), context.StoredWeights(std::span<const int32_t>(first))));
  VERDICT_ASSIGN_OR_RETURN(ITensor * bound, context.Select(is_nan, is_first, past));
  VERDICT_ASSIGN_OR_RETURN(bound, context.Reduce(bound, ReduceOperation::kMIN, axes, true));
  return context.Elementwise(index, bound, ElementWiseOperation::kMIN);
}

Result<ITensor*> AddSoftmax(NetworkContext& context, ITensor* input, int axis) {
  nvinfer1::ISoftMaxLayer* layer = context.network().addSoftMax(*input);
  if (layer != nullptr) layer->setAxes(1U << axis);
  return context.Output(layer);
}

std::span<const NodeBuilder> ReduceBuilders() { return kBuilders; }

}  // namespace verdict::tensorrt
