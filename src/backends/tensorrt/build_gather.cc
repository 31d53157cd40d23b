#include <algorithm>

#include "backends/tensorrt/builders.h"
#include "backends/tensorrt/quantization.h"
#include "ops/op.h"

namespace verdict::tensorrt {
namespace {

Status SupportsGather(const Graph& graph, const Node& node) {
  if (DequantizedTable(graph, node) == nullptr) {
    VERDICT_RETURN_IF_ERROR(RequireMovable(graph, node));
  }
  return RequireCheckedIndices(graph, node);
}

/// Indices of constants count from the front afterwards. extents: of the axes that they index, by
/// turns (GatherND has one for each coordinate).
Result<ITensor*> Indices(NetworkContext& context, const Node& node, std::span<const Dim> extents) {
  if (context.graph().constant(node.inputs[1]) == nullptr) return context.Input(1);
  VERDICT_ASSIGN_OR_RETURN(std::vector<int64_t> indices, IntConstant(context.graph(), node, 1));
  if (std::ranges::none_of(indices, [](int64_t index) { return index < 0; })) {
    return context.Input(1);
  }
  if (IsSymbol(extents[0])) {
    // -1 alone (RequireCheckedIndices): the last one, wherever that is.
    std::vector<int64_t> counts_from_end;
    for (const int64_t index : indices) counts_from_end.push_back(index < 0 ? 1 : 0);
    VERDICT_ASSIGN_OR_RETURN(ITensor* const extent, context.Extent(extents[0]));
    VERDICT_ASSIGN_OR_RETURN(ITensor * list, context.Indices(counts_from_end));
    VERDICT_ASSIGN_OR_RETURN(
        list, context.Elementwise(list, extent, nvinfer1::ElementWiseOperation::kPROD));
    VERDICT_ASSIGN_OR_RETURN(ITensor* const given, context.Indices(indices));
    VERDICT_ASSIGN_OR_RETURN(
        list, context.Elementwise(list, given, nvinfer1::ElementWiseOperation::kSUM));
    return context.Reshape(list, context.InputShape(1).dims());
  }
  for (size_t i = 0; i < indices.size(); ++i) {
    if (indices[i] < 0) indices[i] += extents[i % extents.size()];
  }
  VERDICT_ASSIGN_OR_RETURN(ITensor* const list, context.Indices(indices));
  return context.Reshape(list, context.InputShape(1).dims());
}

Status AddGather(NetworkContext& context, const Node& node) {
  const Shape& shape = context.InputShape(0);
  const int axis = AxisOf(node, 0, shape.rank());
  const Dim extent = shape[axis];
  VERDICT_ASSIGN_OR_RETURN(ITensor* const data, DequantizedTable(context.graph(), node) != nullptr
                                                    ? DequantizedTableTensor(context, node)
                                                    : context.Input(0));
  VERDICT_ASSIGN_OR_RETURN(ITensor* const indices, Indices(context, node, std::span(&extent, 1)));
  return context.SetOutput(0, context.Output(context.network().addGather(*data, *indices, axis)));
}

/// TensorRT's rule for extents beside the axis is not ours: they must be equal.
Status SupportsGatherElements(const Graph& graph, const Node& node) {
  const Shape& data = InputShape(graph, node, 0);
  const Shape& indices = InputShape(graph, node, 1);
  const int axis = AxisOf(node, 0, data.rank());
  for (int i = 0; i < data.rank(); ++i) {
    if (i != axis && data[i] != indices[i]) return Decline("indices cover a part of the data");
  }
  return SupportsGather(graph, node);
}

Status AddGatherElements(NetworkContext& context, const Node& node) {
  const Shape& shape = context.InputShape(0);
  const int axis = AxisOf(node, 0, shape.rank());
  const Dim extent = shape[axis];
  VERDICT_ASSIGN_OR_RETURN(ITensor* const data, context.Input(0));
  VERDICT_ASSIGN_OR_RETURN(ITensor* const indices, Indices(context, node, std::span(&extent, 1)));
  nvinfer1::IGatherLayer* layer =
      context.network().addGatherV2(*data, *indices, nvinfer1::GatherMode::kELEMENT);
  if (layer != nullptr) layer->setGatherAxis(axis);
  return context.SetOutput(0, context.Output(layer));
}

Status SupportsGatherNd(const Graph& graph, const Node& node) {
  const int64_t batch = AttributeReader(node).Int("batch_dims", 0);
  if (batch != 0 && batch >= InputShape(graph, node, 0).rank() - 1) {
    return Decline("batch_dims of all axes but one");
  }
  return SupportsGather(graph, node);
}

Status AddGatherNd(NetworkContext& context, const Node& node) {
  const auto batch = static_cast<int32_t>(AttributeReader(node).Int("batch_dims", 0));
  const Shape& indexed = context.InputShape(1);
  const auto depth = static_cast<size_t>(indexed[indexed.rank() - 1]);
  const auto extents = context.InputShape(0).dims().subspan(static_cast<size_t>(batch), depth);
  VERDICT_ASSIGN_OR_RETURN(ITensor* const data, context.Input(0));
  VERDICT_ASSIGN_OR_RETURN(ITensor* const indices, Indices(context, node, extents));
  nvinfer1::IGatherLayer* layer =
      context.network().addGatherV2(*data, *indices, nvinfer1::GatherMode::kND);
  if (layer != nullptr) layer->setNbElementWiseDims(batch);
  return context.SetOutput(0, context.Output(layer));
}

/// Columns by constant numbers.
Status SupportsExtractor(const Graph& graph, const Node& node) {
  const Shape& shape = InputShape(graph, node, 0);
  const Dim columns = shape[shape.rank() - 1];
  VERDICT_ASSIGN_OR_RETURN(const std::vector<int64_t> indices, IntConstant(graph, node, 1));
  for (const int64_t index : indices) {
    if (IsSymbol(columns) || index < 0 || index >= columns) {
      return Decline("an index that may be out of range");
    }
  }
  return RequireMovable(graph, node);
}

Status AddExtractor(NetworkContext& context, const Node& node) {
  VERDICT_ASSIGN_OR_RETURN(const std::vector<int64_t> numbers,
                           IntConstant(context.graph(), node, 1));
  const int rank = context.InputShape(0).rank();
  VERDICT_ASSIGN_OR_RETURN(ITensor* const data, context.Input(0));
  VERDICT_ASSIGN_OR_RETURN(ITensor* const indices, context.Indices(numbers));
  VERDICT_ASSIGN_OR_RETURN(ITensor * columns,
                           context.Output(context.network().addGather(*data, *indices, rank - 1)));
  return context.SetOutput(0, context.RaiseRank(columns, context.OutputShape(0).rank()));
}

constexpr NodeBuilder kBuilders[] = {
    {"ArrayFeatureExtractor", SupportsExtractor, AddExtractor},
    {"Gather", SupportsGather, AddGather},
    {"GatherElements", SupportsGatherElements, AddGatherElements},
    {"GatherND", SupportsGatherNd, AddGatherNd},
};

}  // namespace

std::span<const NodeBuilder> GatherBuilders() { return kBuilders; }

}  // namespace verdict::tensorrt
