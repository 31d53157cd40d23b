#include <algorithm>
#include <array>
#include <numeric>

#include "backends/tensorrt/builders.h"
#include "ops/op.h"

namespace verdict::tensorrt {
namespace {

using nvinfer1::ElementWiseOperation;

Status SupportsMove(const Graph& graph, const Node& node) { return RequireMovable(graph, node); }

const Shape& OutputShape(const Graph& graph, const Node& node) {
  return graph.value(node.outputs[0]).shape;
}

Status AddIdentity(NetworkContext& context, const Node&) {
  return context.SetOutput(0, context.Input(0));
}

Status AddTranspose(NetworkContext& context, const Node& node) {
  const int rank = context.InputShape(0).rank();
  std::vector<int> order;
  for (const int64_t axis : AttributeReader(node).Ints("perm")) {
    order.push_back(static_cast<int>(axis));
  }
  for (int axis = rank - 1; axis >= 0 && std::ssize(order) < rank; --axis) order.push_back(axis);
  VERDICT_ASSIGN_OR_RETURN(ITensor* const x, context.Input(0));
  return context.SetOutput(0, context.Transpose(x, order));
}

/// Reshape and Flatten: where the elements go, the shapes say. The target's tensor is not needed.
Status SupportsReshape(const Graph& graph, const Node& node) {
  VERDICT_RETURN_IF_ERROR(RequireMovable(graph, node));
  return CanReshape(graph, InputShape(graph, node, 0), OutputShape(graph, node));
}

Status AddReshape(NetworkContext& context, const Node&) {
  VERDICT_ASSIGN_OR_RETURN(ITensor* const x, context.Input(0));
  return context.SetOutput(0, context.ReshapeTo(x, context.InputShape(0), context.OutputShape(0)));
}

/// The axes that Squeeze or Unsqueeze names, one bit each; `rank` of the side that has them.
Result<uint32_t> NamedAxes(const Graph& graph, const Node& node, int rank) {
  VERDICT_ASSIGN_OR_RETURN(const std::vector<int64_t> axes, IntConstant(graph, node, 1));
  uint32_t mask = 0;
  for (const int64_t axis : axes) mask |= 1U << (axis < 0 ? axis + rank : axis);
  return mask;
}

Result<uint32_t> SqueezedAxes(const Graph& graph, const Node& node) {
  const Shape& shape = InputShape(graph, node, 0);
  if (HasInput(node, 1)) return NamedAxes(graph, node, shape.rank());
  uint32_t mask = 0;
  for (int axis = 0; axis < shape.rank(); ++axis) mask |= shape[axis] == 1 ? 1U << axis : 0U;
  return mask;
}

Status SupportsSqueeze(const Graph& graph, const Node& node) {
  VERDICT_RETURN_IF_ERROR(RequireMovable(graph, node));
  return SqueezedAxes(graph, node).status();
}

Status AddSqueeze(NetworkContext& context, const Node& node) {
  VERDICT_ASSIGN_OR_RETURN(const uint32_t axes, SqueezedAxes(context.graph(), node));
  VERDICT_ASSIGN_OR_RETURN(ITensor* const x, context.Input(0));
  return context.SetOutput(0, context.Squeeze(x, axes));
}

Status SupportsUnsqueeze(const Graph& graph, const Node& node) {
  VERDICT_RETURN_IF_ERROR(RequireMovable(graph, node));
  return NamedAxes(graph, node, 0).status();
}

Status AddUnsqueeze(NetworkContext& context, const Node& node) {
  VERDICT_ASSIGN_OR_RETURN(const uint32_t axes,
                           NamedAxes(context.graph(), node, context.OutputShape(0).rank()));
  VERDICT_ASSIGN_OR_RETURN(ITensor* const x, context.Input(0));
  return context.SetOutput(0, context.Unsqueeze(x, axes));
}

Status AddConcat(NetworkContext& context, const Node& node) {
  std::vector<ITensor*> parts;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    VERDICT_ASSIGN_OR_RETURN(parts.emplace_back(), context.Input(i));
  }
  return context.SetOutput(0, context.Concat(parts, AxisOf(node, 0, context.InputShape(0).rank())));
}

/// The part of a shape that Shape answers: [start, end).
std::pair<int, int> ShapeAxes(const Node& node, int rank) {
  const AttributeReader attributes(node);
  const auto clamp = [&](int64_t axis) {
    return static_cast<int>(std::clamp<int64_t>(axis < 0 ? axis + rank : axis, 0, rank));
  };
  const int start = clamp(attributes.Int("start", 0));
  return {start, std::max(start, clamp(attributes.Int("end", rank)))};
}

Status SupportsShape(const Graph& graph, const Node& node) {
  const auto [start, end] = ShapeAxes(node, InputShape(graph, node, 0).rank());
  return start == end ? Decline("an empty list") : OkStatus();
}

Status AddShape(NetworkContext& context, const Node& node) {
  const int rank = context.InputShape(0).rank();
  const auto [start, end] = ShapeAxes(node, rank);
  VERDICT_ASSIGN_OR_RETURN(ITensor* const x, context.Input(0));
  VERDICT_ASSIGN_OR_RETURN(ITensor* const shape, context.ShapeOf(x));
  if (end - start == rank) return context.SetOutput(0, shape);
  const std::array<int64_t, 1> from{start}, size{end - start}, one{1};
  return context.SetOutput(0, context.Slice(shape, from, size, one));
}

Status SupportsSize(const Graph& graph, const Node& node) {
  return InputShape(graph, node, 0).rank() == 0 ? Decline("a scalar") : OkStatus();
}

Status AddSize(NetworkContext& context, const Node&) {
  VERDICT_ASSIGN_OR_RETURN(ITensor* const x, context.Input(0));
  VERDICT_ASSIGN_OR_RETURN(ITensor* const shape, context.ShapeOf(x));
  return context.SetOutput(0, context.Reduce(shape, nvinfer1::ReduceOperation::kPROD, 1, false));
}

/// Per axis of the output whether the input is repeated along it; nothing that is not known.
Status RepeatedAxes(const Shape& from, const Shape& to, uint32_t* axes) {
  const int added = to.rank() - from.rank();
  *axes = 0;
  for (int axis = 0; axis < to.rank(); ++axis) {
    const Dim dim = axis < added ? 1 : from[axis - added];
    if (dim == to[axis]) continue;
    if (dim != 1) return Decline("whether an axis is repeated depends on the input");
    *axes |= 1U << axis;
  }
  return OkStatus();
}

Status SupportsExpand(const Graph& graph, const Node& node) {
  VERDICT_RETURN_IF_ERROR(RequireMovable(graph, node));
  const Shape& to = OutputShape(graph, node);
  uint32_t axes = 0;
  VERDICT_RETURN_IF_ERROR(RepeatedAxes(InputShape(graph, node, 0), to, &axes));
  return RequireKnownSymbols(graph, node, to);
}

/// A slice of stride 0 along the axes that are repeated.
Result<ITensor*> Expand(NetworkContext& context, ITensor* x, uint32_t axes, const Shape& to) {
  const auto rank = static_cast<size_t>(to.rank());
  VERDICT_ASSIGN_OR_RETURN(x, context.RaiseRank(x, to.rank()));
  if (axes == 0) return x;
  const std::vector<int64_t> starts(rank, 0);
  std::vector<int64_t> strides(rank, 1);
  for (size_t axis = 0; axis < rank; ++axis) strides[axis] = (axes >> axis & 1U) != 0 ? 0 : 1;
  if (to.IsStatic()) return context.Slice(x, starts, to.dims(), strides);
  VERDICT_ASSIGN_OR_RETURN(ITensor* const start, context.Indices(starts));
  VERDICT_ASSIGN_OR_RETURN(ITensor* const size, context.ShapeTensor(to));
  VERDICT_ASSIGN_OR_RETURN(ITensor* const stride, context.Indices(strides));
  return context.Slice(x, start, size, stride);
}

Status AddExpand(NetworkContext& context, const Node&) {
  uint32_t axes = 0;
  const Shape& to = context.OutputShape(0);
  VERDICT_RETURN_IF_ERROR(RepeatedAxes(context.InputShape(0), to, &axes));
  VERDICT_ASSIGN_OR_RETURN(ITensor* const x, context.Input(0));
  return context.SetOutput(0, Expand(context, x, axes, to));
}

Status SupportsConstantOfShape(const Graph& graph, const Node& node) {
  VERDICT_RETURN_IF_ERROR(RequireConstant(graph, node, 1));
  if (graph.value(node.outputs[0]).dtype == DataType::kInt8) return Decline("i8 elements");
  if (OutputShape(graph, node).rank() == 0) return Decline("a scalar");
  return RequireKnownSymbols(graph, node, OutputShape(graph, node));
}

Status AddConstantOfShape(NetworkContext& context, const Node&) {
  const Shape& to = context.OutputShape(0);
  ITensor* value = nullptr;
  if (context.HasInput(1)) {
    VERDICT_ASSIGN_OR_RETURN(value, context.Input(1));
    const std::vector<int64_t> ones(static_cast<size_t>(to.rank()), 1);
    VERDICT_ASSIGN_OR_RETURN(value, context.Reshape(value, ones));
  } else {
    VERDICT_ASSIGN_OR_RETURN(value, context.Scalar(Type::kFLOAT, 0, to.rank()));
  }
  uint32_t axes = 0;
  for (int axis = 0; axis < to.rank(); ++axis) axes |= to[axis] == 1 ? 0U : 1U << axis;
  return context.SetOutput(0, Expand(context, value, axes, to));
}

Status SupportsTile(const Graph& graph, const Node& node) {
  VERDICT_RETURN_IF_ERROR(RequireMovable(graph, node));
  VERDICT_ASSIGN_OR_RETURN(const std::vector<int64_t> repeats, IntConstant(graph, node, 1));
  if (std::ranges::count(repeats, 0) > 0) return Decline("an empty tensor");
  return repeats.empty() ? Decline("a scalar") : OkStatus();
}

/// A slice that reaches over the end and goes on at the beginning.
Status AddTile(NetworkContext& context, const Node& node) {
  VERDICT_ASSIGN_OR_RETURN(const std::vector<int64_t> repeats,
                           IntConstant(context.graph(), node, 1));
  const std::vector<int64_t> zeros(repeats.size(), 0), ones(repeats.size(), 1);
  VERDICT_ASSIGN_OR_RETURN(ITensor* const x, context.Input(0));
  VERDICT_ASSIGN_OR_RETURN(ITensor* const shape, context.ShapeOf(x));
  VERDICT_ASSIGN_OR_RETURN(ITensor * size, context.Indices(repeats));
  VERDICT_ASSIGN_OR_RETURN(size, context.Elementwise(shape, size, ElementWiseOperation::kPROD));
  nvinfer1::ISliceLayer* layer =
      context.network().addSlice(*x, MakeDims(zeros), MakeDims(ones), MakeDims(ones));
  if (layer != nullptr) {
    layer->setMode(nvinfer1::SampleMode::kWRAP);
    layer->setInput(2, *size);
  }
  return context.SetOutput(0, context.Output(layer));
}

constexpr NodeBuilder kBuilders[] = {
    {"Concat", SupportsMove, AddConcat},
    {"ConstantOfShape", SupportsConstantOfShape, AddConstantOfShape},
    {"Expand", SupportsExpand, AddExpand},
    {"Flatten", SupportsReshape, AddReshape},
    {"Identity", SupportsMove, AddIdentity},
    {"Reshape", SupportsReshape, AddReshape},
    {"Shape", SupportsShape, AddShape},
    {"Size", SupportsSize, AddSize},
    {"Squeeze", SupportsSqueeze, AddSqueeze},
    {"Tile", SupportsTile, AddTile},
    {"Transpose", SupportsMove, AddTranspose},
    {"Unsqueeze", SupportsUnsqueeze, AddUnsqueeze},
};

}  // namespace

std::span<const NodeBuilder> ShapeBuilders() { return kBuilders; }

}  // namespace verdict::tensorrt
