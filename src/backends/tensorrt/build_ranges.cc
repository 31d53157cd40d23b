#include <algorithm>
#include <array>
#include <numeric>

#include "backends/tensorrt/builders.h"
#include "ops/op.h"

namespace verdict::tensorrt {
namespace {

using nvinfer1::ElementWiseOperation;

/// Masks of more elements than this are not worth their constant.
constexpr int64_t kMostMasked = 1 << 20;

bool IsInt(DataType dtype) { return dtype == DataType::kInt32 || dtype == DataType::kInt64; }

/// start, start + delta, … of integers, the limit from shapes: positions.
Status SupportsRange(const Graph& graph, const Node& node) {
  if (!IsInt(InputType(graph, node, 0))) return Decline("only i32 and i64 are supported");
  VERDICT_ASSIGN_OR_RETURN(const std::vector<int64_t> start, IntConstant(graph, node, 0));
  VERDICT_ASSIGN_OR_RETURN(const std::vector<int64_t> delta, IntConstant(graph, node, 2));
  if (delta[0] != 1 || std::abs(start[0]) > kMostMasked) {
    return Decline("only steps of 1 from a small number are supported");
  }
  if (!FromShapes(graph, node.inputs[1])) return Decline("the limit depends on the data");
  return OkStatus();
}

Status AddRange(NetworkContext& context, const Node& node) {
  VERDICT_ASSIGN_OR_RETURN(const std::vector<int64_t> start, IntConstant(context.graph(), node, 0));
  VERDICT_ASSIGN_OR_RETURN(const Type type,
                           DeviceType(context.graph().value(node.outputs[0]).dtype));
  VERDICT_ASSIGN_OR_RETURN(ITensor * count, context.Input(1));
  VERDICT_ASSIGN_OR_RETURN(count, context.Reshape(count, std::array<int64_t, 1>{1}));
  VERDICT_ASSIGN_OR_RETURN(count, context.Cast(count, kIndexType));
  const auto first = static_cast<double>(start[0]);
  VERDICT_ASSIGN_OR_RETURN(count, context.Elementwise(count, first, ElementWiseOperation::kSUB));
  VERDICT_ASSIGN_OR_RETURN(count, context.Elementwise(count, 0.0, ElementWiseOperation::kMAX));
  const nvinfer1::Dims dims = MakeDims(std::array<int64_t, 1>{1});
#if NV_TENSORRT_MAJOR >= 10
  nvinfer1::IFillLayer* layer =
      context.network().addFill(dims, nvinfer1::FillOperation::kLINSPACE, type);
#else
  nvinfer1::IFillLayer* layer = context.network().addFill(dims, nvinfer1::FillOperation::kLINSPACE);
  if (layer != nullptr) layer->setOutputType(0, type);
#endif
  if (layer != nullptr) {
    layer->setAlpha(first);
    layer->setBeta(1);
    layer->setInput(0, *count);
  }
  return context.SetOutput(0, context.Output(layer));
}

Status SupportsOneHot(const Graph& graph, const Node& node) {
  if (!IsInt(InputType(graph, node, 0))) return Decline("indices of floats");
  VERDICT_ASSIGN_OR_RETURN(const std::vector<int64_t> depth, IntConstant(graph, node, 1));
  if (depth[0] < 1 || depth[0] > kMostMasked) return Decline("a large depth");
  return RequireMovable(graph, node, 2);
}

/// The numbers along an axis of `rank` axes whose other extents are 1, from `first` on.
Result<ITensor*> Numbers(NetworkContext& context, DataType dtype, int64_t first, int64_t count,
                         int axis, int rank) {
  std::vector<int64_t> dims(static_cast<size_t>(rank), 1), numbers(static_cast<size_t>(count));
  dims[static_cast<size_t>(axis)] = count;
  std::iota(numbers.begin(), numbers.end(), first);
  VERDICT_ASSIGN_OR_RETURN(ITensor * list, context.Indices(numbers));
  VERDICT_ASSIGN_OR_RETURN(const Type type, DeviceType(dtype));
  VERDICT_ASSIGN_OR_RETURN(list, context.Cast(list, type));
  return context.Reshape(list, dims);
}

/// Hot where the index, or the index and depth, is the number of the place: no index is out of
/// range, so that no index need be checked.
Status AddOneHot(NetworkContext& context, const Node& node) {
  VERDICT_ASSIGN_OR_RETURN(const std::vector<int64_t> depth, IntConstant(context.graph(), node, 1));
  const int rank = context.InputShape(0).rank() + 1;
  const int axis = AxisOf(node, -1, rank);
  const DataType dtype = context.graph().value(node.inputs[0]).dtype;
  VERDICT_ASSIGN_OR_RETURN(ITensor * indices, context.Input(0));
  VERDICT_ASSIGN_OR_RETURN(indices, context.Unsqueeze(indices, 1U << axis));
  VERDICT_ASSIGN_OR_RETURN(ITensor* const places, Numbers(context, dtype, 0, depth[0], axis, rank));
  VERDICT_ASSIGN_OR_RETURN(ITensor* const from_end,
                           Numbers(context, dtype, -depth[0], depth[0], axis, rank));
  VERDICT_ASSIGN_OR_RETURN(ITensor * hot,
                           context.Elementwise(indices, places, ElementWiseOperation::kEQUAL));
  VERDICT_ASSIGN_OR_RETURN(ITensor* const also,
                           context.Elementwise(indices, from_end, ElementWiseOperation::kEQUAL));
  VERDICT_ASSIGN_OR_RETURN(hot, context.Elementwise(hot, also, ElementWiseOperation::kOR));
  VERDICT_ASSIGN_OR_RETURN(ITensor* const values, context.Input(2));
  const std::array<int64_t, 1> zero{0}, one{1};
  VERDICT_ASSIGN_OR_RETURN(ITensor* const off, context.Slice(values, zero, one, one));
  VERDICT_ASSIGN_OR_RETURN(ITensor* const on, context.Slice(values, one, one, one));
  return context.SetOutput(0, context.Select(hot, on, off));
}

Status SupportsTrilu(const Graph& graph, const Node& node) {
  const DataType dtype = InputType(graph, node, 0);
  if (dtype != DataType::kFloat32 && !IsInt(dtype)) {
    return Decline("only f32, i32 and i64 are supported");
  }
  if (HasInput(node, 1)) {
    VERDICT_RETURN_IF_ERROR(IntConstant(graph, node, 1).status());
  }
  const Shape& shape = InputShape(graph, node, 0);
  const Dim rows = shape[shape.rank() - 2];
  const Dim columns = shape[shape.rank() - 1];
  if (IsSymbol(rows) || IsSymbol(columns) || rows > kMostMasked || columns > kMostMasked ||
      rows * columns > kMostMasked) {
    return Decline("a matrix of no fixed extents, or a large one");
  }
  return OkStatus();
}

Status AddTrilu(NetworkContext& context, const Node& node) {
  const bool upper = AttributeReader(node).Int("upper", 1) != 0;
  int64_t k = 0;
  if (context.HasInput(1)) {
    VERDICT_ASSIGN_OR_RETURN(const std::vector<int64_t> given,
                             IntConstant(context.graph(), node, 1));
    k = std::clamp(given[0], -kMostMasked, kMostMasked);
  }
  const Shape& shape = context.InputShape(0);
  const int rank = shape.rank();
  const int64_t rows = shape[rank - 2];
  const int64_t columns = shape[rank - 1];
  std::vector<int32_t> kept;
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t column = 0; column < columns; ++column) {
      kept.push_back((upper ? column >= row + k : column <= row + k) ? 1 : 0);
    }
  }
  std::vector<int64_t> dims(static_cast<size_t>(rank), 1);
  dims[static_cast<size_t>(rank) - 2] = rows;
  dims[static_cast<size_t>(rank) - 1] = columns;
  VERDICT_ASSIGN_OR_RETURN(
      ITensor * mask,
      context.AddConstant(MakeDims(dims), context.StoredWeights(std::span<const int32_t>(kept))));
  VERDICT_ASSIGN_OR_RETURN(mask, context.Cast(mask, Type::kBOOL));
  VERDICT_ASSIGN_OR_RETURN(ITensor* const x, context.Input(0));
  VERDICT_ASSIGN_OR_RETURN(ITensor* const zero, context.Scalar(x->getType(), 0, rank));
  return context.SetOutput(0, context.Select(mask, x, zero));
}

constexpr NodeBuilder kBuilders[] = {
    {"OneHot", SupportsOneHot, AddOneHot},
    {"Range", SupportsRange, AddRange},
    {"Trilu", SupportsTrilu, AddTrilu},
};

}  // namespace

std::span<const NodeBuilder> RangeBuilders() { return kBuilders; }

}  // namespace verdict::tensorrt
