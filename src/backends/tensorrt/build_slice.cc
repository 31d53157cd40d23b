#include <algorithm>
#include <array>
#include <limits>

#include "backends/tensorrt/builders.h"
#include "ops/op.h"

namespace verdict::tensorrt {
namespace {

using nvinfer1::ElementWiseOperation;

constexpr int64_t kFar = std::numeric_limits<int32_t>::max();
/// Added to an extent it stays within 32 bits, as extents on a device are far below 2^31.
constexpr int64_t kLongStep = 1 << 16;

// Slice: per axis of the input what is cut out of it.

struct Cut {
  int64_t start = 0;  // as ONNX gives them: negative ones count from the end
  int64_t end = kFar;
  int64_t step = 1;
  /// Entry of the lists of bounds where these are computed, from shapes; then start and end say
  /// nothing.
  int computed = -1;

  bool TakesAll() const { return computed < 0 && step == 1 && start == 0 && end >= kFar; }
  bool Reverses() const { return computed < 0 && step == -1 && start == -1 && end <= -kFar; }
};

/// True if the bounds are constants; else they must follow from shapes.
Result<bool> HasConstantBounds(const Graph& graph, const Node& node) {
  bool constant = true;
  for (size_t i = 1; i <= 2; ++i) {
    if (graph.constant(node.inputs[i]) != nullptr) continue;
    if (!FromShapes(graph, node.inputs[i])) return Decline("bounds that depend on the data");
    constant = false;
  }
  return constant;
}

Result<std::vector<Cut>> ReadCuts(const Graph& graph, const Node& node) {
  const int rank = InputShape(graph, node, 0).rank();
  std::vector<Cut> cuts(static_cast<size_t>(rank));
  VERDICT_ASSIGN_OR_RETURN(const bool is_constant, HasConstantBounds(graph, node));
  std::vector<int64_t> starts, ends, axes, steps;
  if (is_constant) {
    VERDICT_ASSIGN_OR_RETURN(starts, IntConstant(graph, node, 1));
    VERDICT_ASSIGN_OR_RETURN(ends, IntConstant(graph, node, 2));
  }
  if (HasInput(node, 3)) {
    VERDICT_ASSIGN_OR_RETURN(axes, IntConstant(graph, node, 3));
  }
  if (HasInput(node, 4)) {
    VERDICT_ASSIGN_OR_RETURN(steps, IntConstant(graph, node, 4));
  }
  const auto count = static_cast<size_t>(InputShape(graph, node, 1)[0]);
  for (size_t i = 0; i < count; ++i) {
    const int64_t named = axes.empty() ? static_cast<int64_t>(i) : axes[i];
    Cut& cut = cuts[static_cast<size_t>(named < 0 ? named + rank : named)];
    const auto near = [](int64_t bound) { return std::clamp(bound, -kFar, kFar); };
    cut.step = steps.empty() ? 1 : near(steps[i]);
    if (is_constant) {
      cut.start = near(starts[i]);
      cut.end = near(ends[i]);
    } else {
      cut.computed = static_cast<int>(i);
    }
  }
  return cuts;
}

/// Start and number of elements where the extent is known: ops/slice.cc's rule.
std::pair<int64_t, int64_t> Clamped(const Cut& cut, int64_t extent) {
  const int64_t step = cut.step;
  int64_t start = cut.start < 0 ? cut.start + extent : cut.start;
  int64_t end = cut.end < 0 ? cut.end + extent : cut.end;
  if (step > 0) {
    start = std::clamp<int64_t>(start, 0, extent);
    end = std::clamp<int64_t>(end, 0, extent);
    return {start, std::max<int64_t>(0, (end - start + step - 1) / step)};
  }
  start = std::clamp<int64_t>(start, 0, std::max<int64_t>(extent - 1, 0));
  end = std::clamp<int64_t>(end, -1, extent - 1);
  return {start, std::max<int64_t>(0, (start - end - step - 1) / -step)};
}

Status SupportsSlice(const Graph& graph, const Node& node) {
  VERDICT_RETURN_IF_ERROR(RequireMovable(graph, node));
  VERDICT_ASSIGN_OR_RETURN(const std::vector<Cut> cuts, ReadCuts(graph, node));
  const Shape& shape = InputShape(graph, node, 0);
  for (int axis = 0; axis < shape.rank(); ++axis) {
    const Cut& cut = cuts[static_cast<size_t>(axis)];
    if (IsSymbol(shape[axis]) && cut.step < 0 && !cut.Reverses()) {
      return Decline("backwards along an axis of no fixed extent");
    }
    const bool is_computed = IsSymbol(shape[axis]) || cut.computed >= 0;
    if (is_computed && cut.step > kLongStep) return Decline("a very long step");
    if (cut.computed >= 0 && cut.step < 0) return Decline("backwards between computed bounds");
    // 8.5 finds no implementation for a table of positions that is cut to the events there are.
    if (cut.computed >= 0 && graph.constant(node.inputs[0]) != nullptr) {
      return Decline("a constant cut at computed bounds");
    }
  }
  return OkStatus();
}

/// A bound within an extent that is computed: min(bound, n), or max(n + bound, 0).
Result<ITensor*> ClampedBound(NetworkContext& context, int64_t bound, ITensor* extent) {
  VERDICT_ASSIGN_OR_RETURN(ITensor* const given, context.Indices(std::array{bound}));
  if (bound >= 0) return context.Elementwise(given, extent, ElementWiseOperation::kMIN);
  VERDICT_ASSIGN_OR_RETURN(ITensor* const sum,
                           context.Elementwise(given, extent, ElementWiseOperation::kSUM));
  return context.Elementwise(sum, 0.0, ElementWiseOperation::kMAX);
}

/// Entry `index` of a list of computed bounds within an extent: counted from the end where it is
/// below zero, then clamped. By such arithmetic as TensorRT takes for shapes.
Result<ITensor*> ClampedEntry(NetworkContext& context, const Node& node, size_t input, int index,
                              ITensor* extent) {
  if (context.graph().constant(node.inputs[input]) != nullptr) {
    VERDICT_ASSIGN_OR_RETURN(const std::vector<int64_t> bounds,
                             IntConstant(context.graph(), node, input));
    const int64_t bound = bounds[static_cast<size_t>(index)];
    return ClampedBound(context, std::clamp(bound, -kFar, kFar), extent);
  }
  VERDICT_ASSIGN_OR_RETURN(ITensor * bound, context.Input(input));
  const std::array<int64_t, 1> start{index}, one{1};
  VERDICT_ASSIGN_OR_RETURN(bound, context.Slice(bound, start, one, one));
  VERDICT_ASSIGN_OR_RETURN(bound, context.Cast(bound, kIndexType));
  VERDICT_ASSIGN_OR_RETURN(ITensor * sign,
                           context.Elementwise(bound, 0.0, ElementWiseOperation::kMIN));
  VERDICT_ASSIGN_OR_RETURN(sign, context.Elementwise(sign, -1.0, ElementWiseOperation::kMAX));
  VERDICT_ASSIGN_OR_RETURN(sign, context.Elementwise(sign, extent, ElementWiseOperation::kPROD));
  VERDICT_ASSIGN_OR_RETURN(bound, context.Elementwise(bound, sign, ElementWiseOperation::kSUB));
  VERDICT_ASSIGN_OR_RETURN(bound, context.Elementwise(bound, extent, ElementWiseOperation::kMIN));
  return context.Elementwise(bound, 0.0, ElementWiseOperation::kMAX);
}

struct ComputedCut {
  ITensor* start = nullptr;
  ITensor* size = nullptr;
};

Result<ComputedCut> ComputeCut(NetworkContext& context, const Node& node, const Cut& cut, Dim dim) {
  ComputedCut computed;
  VERDICT_ASSIGN_OR_RETURN(ITensor* const extent, context.Extent(dim));
  if (cut.TakesAll()) {
    VERDICT_ASSIGN_OR_RETURN(computed.start, context.Indices(std::array<int64_t, 1>{0}));
    computed.size = extent;
    return computed;
  }
  if (cut.Reverses()) {
    VERDICT_ASSIGN_OR_RETURN(computed.start,
                             context.Elementwise(extent, 1.0, ElementWiseOperation::kSUB));
    computed.size = extent;
    return computed;
  }
  ITensor* size = nullptr;
  if (cut.computed >= 0) {
    VERDICT_ASSIGN_OR_RETURN(computed.start, ClampedEntry(context, node, 1, cut.computed, extent));
    VERDICT_ASSIGN_OR_RETURN(size, ClampedEntry(context, node, 2, cut.computed, extent));
  } else {
    VERDICT_ASSIGN_OR_RETURN(computed.start, ClampedBound(context, cut.start, extent));
    VERDICT_ASSIGN_OR_RETURN(size, ClampedBound(context, cut.end, extent));
  }
  VERDICT_ASSIGN_OR_RETURN(size,
                           context.Elementwise(size, computed.start, ElementWiseOperation::kSUB));
  VERDICT_ASSIGN_OR_RETURN(size, context.Elementwise(size, 0.0, ElementWiseOperation::kMAX));
  if (cut.step != 1) {
    const auto step = static_cast<double>(cut.step);
    VERDICT_ASSIGN_OR_RETURN(size, context.Elementwise(size, step - 1, ElementWiseOperation::kSUM));
    VERDICT_ASSIGN_OR_RETURN(size,
                             context.Elementwise(size, step, ElementWiseOperation::kFLOOR_DIV));
  }
  computed.size = size;
  return computed;
}

Status AddSlice(NetworkContext& context, const Node& node) {
  VERDICT_ASSIGN_OR_RETURN(const std::vector<Cut> cuts, ReadCuts(context.graph(), node));
  const Shape& shape = context.InputShape(0);
  VERDICT_ASSIGN_OR_RETURN(ITensor* const x, context.Input(0));
  std::vector<int64_t> starts, sizes, strides;
  for (const Cut& cut : cuts) {
    const Dim dim = shape[static_cast<int>(starts.size())];
    const auto [start, size] = Clamped(cut, IsSymbol(dim) ? 0 : dim);
    starts.push_back(start);
    sizes.push_back(size);
    const bool is_known = !IsSymbol(dim) && cut.computed < 0;
    strides.push_back(is_known && size <= 1 ? 1 : cut.step);
  }
  const bool is_computed =
      std::ranges::any_of(cuts, [](const Cut& cut) { return cut.computed >= 0; });
  if (shape.IsStatic() && !is_computed) {
    return context.SetOutput(0, context.Slice(x, starts, sizes, strides));
  }
  std::vector<ITensor*> start_parts, size_parts;
  for (size_t axis = 0; axis < cuts.size(); ++axis) {
    const Dim dim = shape[static_cast<int>(axis)];
    ComputedCut cut;
    if (IsSymbol(dim) || cuts[axis].computed >= 0) {
      VERDICT_ASSIGN_OR_RETURN(cut, ComputeCut(context, node, cuts[axis], dim));
    } else {
      VERDICT_ASSIGN_OR_RETURN(cut.start, context.Indices(std::array{starts[axis]}));
      VERDICT_ASSIGN_OR_RETURN(cut.size, context.Indices(std::array{sizes[axis]}));
    }
    start_parts.push_back(cut.start);
    size_parts.push_back(cut.size);
  }
  VERDICT_ASSIGN_OR_RETURN(ITensor* const start, context.Concat(start_parts, 0));
  VERDICT_ASSIGN_OR_RETURN(ITensor* const size, context.Concat(size_parts, 0));
  VERDICT_ASSIGN_OR_RETURN(ITensor* const stride, context.Indices(strides));
  return context.SetOutput(0, context.Slice(x, start, size, stride));
}

Status SupportsSplit(const Graph& graph, const Node& node) {
  VERDICT_RETURN_IF_ERROR(RequireMovable(graph, node));
  const Shape& shape = InputShape(graph, node, 0);
  const int axis = AxisOf(node, 0, shape.rank());
  for (const ValueId id : node.outputs) {
    if (id != kNoValue && IsSymbol(graph.value(id).shape[axis]) && node.outputs.size() > 1) {
      return Decline("the extent of a part is not fixed");
    }
  }
  if (HasInput(node, 1)) return IntConstant(graph, node, 1).status();
  return IsSymbol(shape[axis]) && node.outputs.size() > 1 ? Decline("the axis has no fixed extent")
                                                          : OkStatus();
}

/// The extents of a Split's parts along its axis.
Result<std::vector<int64_t>> PartSizes(const Graph& graph, const Node& node, Dim extent) {
  if (HasInput(node, 1)) return IntConstant(graph, node, 1);
  const auto parts = static_cast<int64_t>(node.outputs.size());
  const int64_t size = (extent + parts - 1) / parts;
  std::vector<int64_t> sizes(node.outputs.size(), size);
  sizes.back() = extent - size * (parts - 1);
  return sizes;
}

Status AddSplit(NetworkContext& context, const Node& node) {
  VERDICT_ASSIGN_OR_RETURN(ITensor* const x, context.Input(0));
  if (node.outputs.size() == 1) return context.SetOutput(0, x);
  const Shape& shape = context.InputShape(0);
  const int axis = AxisOf(node, 0, shape.rank());
  VERDICT_ASSIGN_OR_RETURN(const std::vector<int64_t> sizes,
                           PartSizes(context.graph(), node, shape[axis]));
  const std::vector<int64_t> strides(static_cast<size_t>(shape.rank()), 1);
  std::vector<int64_t> starts(static_cast<size_t>(shape.rank()), 0);
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    Shape part = shape;
    part[axis] = sizes[i];
    if (node.outputs[i] != kNoValue && part.IsStatic()) {
      VERDICT_RETURN_IF_ERROR(context.SetOutput(i, context.Slice(x, starts, part.dims(), strides)));
    } else if (node.outputs[i] != kNoValue) {
      VERDICT_ASSIGN_OR_RETURN(ITensor* const start, context.Indices(starts));
      VERDICT_ASSIGN_OR_RETURN(ITensor* const size, context.ShapeTensor(part));
      VERDICT_ASSIGN_OR_RETURN(ITensor* const stride, context.Indices(strides));
      VERDICT_RETURN_IF_ERROR(context.SetOutput(i, context.Slice(x, start, size, stride)));
    }
    starts[static_cast<size_t>(axis)] += sizes[i];
  }
  return OkStatus();
}

// Pad: a slice that begins before the first element and ends behind the last.

struct Pads {
  std::vector<int64_t> begin, total;  // per axis; total: of both ends
};

Result<Pads> ReadPads(const Graph& graph, const Node& node) {
  const int rank = InputShape(graph, node, 0).rank();
  VERDICT_ASSIGN_OR_RETURN(const std::vector<int64_t> given, IntConstant(graph, node, 1));
  std::vector<int64_t> axes;
  if (HasInput(node, 3)) {
    VERDICT_ASSIGN_OR_RETURN(axes, IntConstant(graph, node, 3));
  }
  Pads pads;
  pads.begin.resize(static_cast<size_t>(rank), 0);
  pads.total.resize(static_cast<size_t>(rank), 0);
  const size_t count = given.size() / 2;
  for (size_t i = 0; i < count; ++i) {
    const int64_t named = axes.empty() ? static_cast<int64_t>(i) : axes[i];
    const auto axis = static_cast<size_t>(named < 0 ? named + rank : named);
    if (std::max(std::abs(given[i]), std::abs(given[i + count])) > kFar / 2) {
      return Decline("pads beyond 32 bits");
    }
    pads.begin[axis] = given[i];
    pads.total[axis] = given[i] + given[i + count];
  }
  return pads;
}

Status SupportsPad(const Graph& graph, const Node& node) {
  const DataType dtype = InputType(graph, node, 0);
  if (dtype != DataType::kFloat32 && dtype != DataType::kInt32 && dtype != DataType::kInt64) {
    return Decline("only f32, i32 and i64 are supported");
  }
  VERDICT_RETURN_IF_ERROR(RequireConstant(graph, node, 2));
  VERDICT_ASSIGN_OR_RETURN(const Pads pads, ReadPads(graph, node));
  const Shape& shape = InputShape(graph, node, 0);
  if (shape.rank() == 0) return Decline("a scalar");
  for (int axis = 0; axis < shape.rank(); ++axis) {
    const bool shrinks = pads.total[static_cast<size_t>(axis)] < 0;
    if (IsSymbol(shape[axis]) && shrinks) return Decline("cuts an axis of no fixed extent");
  }
  return OkStatus();
}

Status AddPad(NetworkContext& context, const Node& node) {
  VERDICT_ASSIGN_OR_RETURN(const Pads pads, ReadPads(context.graph(), node));
  const std::string_view mode = AttributeReader(node).String("mode", "constant");
  std::vector<int64_t> starts;
  for (const int64_t begin : pads.begin) starts.push_back(-begin);
  const std::vector<int64_t> ones(starts.size(), 1);
  VERDICT_ASSIGN_OR_RETURN(ITensor* const x, context.Input(0));
  VERDICT_ASSIGN_OR_RETURN(ITensor* const start, context.Indices(starts));
  VERDICT_ASSIGN_OR_RETURN(ITensor* const added, context.Indices(pads.total));
  VERDICT_ASSIGN_OR_RETURN(ITensor * size, context.ShapeOf(x));
  VERDICT_ASSIGN_OR_RETURN(size, context.Elementwise(size, added, ElementWiseOperation::kSUM));
  ITensor* value = nullptr;
  if (mode == "constant" && context.HasInput(2)) {
    VERDICT_ASSIGN_OR_RETURN(value, context.Input(2));
    VERDICT_ASSIGN_OR_RETURN(value, context.Reshape(value, std::span<const int64_t>()));
  }
  const nvinfer1::Dims dims = MakeDims(ones);
  nvinfer1::ISliceLayer* layer = context.network().addSlice(*x, dims, dims, dims);
  if (layer != nullptr) {
    layer->setInput(1, *start);
    layer->setInput(2, *size);
    layer->setMode(mode == "edge"      ? nvinfer1::SampleMode::kCLAMP
                   : mode == "reflect" ? nvinfer1::SampleMode::kREFLECT
                   : mode == "wrap"    ? nvinfer1::SampleMode::kWRAP
                                       : nvinfer1::SampleMode::kFILL);
    if (value != nullptr) layer->setInput(4, *value);
  }
  return context.SetOutput(0, context.Output(layer));
}

constexpr NodeBuilder kBuilders[] = {
    {"Pad", SupportsPad, AddPad},
    {"Slice", SupportsSlice, AddSlice},
    {"Split", SupportsSplit, AddSplit},
};

}  // namespace

std::span<const NodeBuilder> SliceBuilders() { return kBuilders; }

}  // namespace verdict::tensorrt
