#include "backends/tensorrt/shared_layers.h"

#include <algorithm>
#include <array>
#include <numeric>

#include "backends/tensorrt/builders.h"
#include "ops/evaluate.h"

namespace verdict::tensorrt {

using nvinfer1::MatrixOperation;

const Node* Producer(const Graph& graph, ValueId id) {
  for (const Node& node : graph.nodes) {
    if (std::ranges::find(node.outputs, id) != node.outputs.end()) return &node;
  }
  return nullptr;
}

bool IsFoldable(const Graph& graph, ValueId id) {
  if (graph.constant(id) != nullptr) return true;
  const Node* node = Producer(graph, id);
  return node != nullptr && (node->op == "DequantizeLinear" || node->op == "Cast") &&
         std::ranges::all_of(node->inputs, [&](ValueId input) {
           return input == kNoValue || graph.constant(input) != nullptr;
         });
}

Result<Constant> FoldedConstant(const Graph& graph, ValueId id) {
  if (const Constant* constant = graph.constant(id)) return *constant;
  if (!IsFoldable(graph, id)) {
    return Decline("'" + graph.value(id).name + "' is computed, not a constant");
  }
  const Node& node = *Producer(graph, id);
  std::vector<TensorView> inputs;
  for (ValueId input : node.inputs) {
    inputs.push_back(input == kNoValue ? TensorView{} : graph.constant(input)->view());
  }
  VERDICT_ASSIGN_OR_RETURN(auto outputs, EvaluateNode(node, inputs));
  return std::move(outputs[0]);
}

Result<nvinfer1::Weights> FoldedWeights(NetworkContext& context, ValueId id) {
  if (context.graph().constant(id) != nullptr) return context.ConstantWeights(id);
  VERDICT_ASSIGN_OR_RETURN(const Constant constant, FoldedConstant(context.graph(), id));
  if (constant.dtype != DataType::kFloat32) {
    return Decline("'" + context.graph().value(id).name + "' is not of float32");
  }
  return context.StoredWeights(constant.view().as<const float>());
}

Result<ITensor*> FoldedTensor(NetworkContext& context, ValueId id) {
  const Graph& graph = context.graph();
  if (graph.constant(id) != nullptr) return context.Tensor(id);
  if (!IsFoldable(graph, id) || graph.value(id).dtype != DataType::kFloat32) {
    return context.Tensor(id);
  }
  VERDICT_ASSIGN_OR_RETURN(const Constant constant, FoldedConstant(graph, id));
  VERDICT_ASSIGN_OR_RETURN(const nvinfer1::Dims dims, DeviceDims(constant.shape));
  return context.AddConstant(dims, context.StoredWeights(constant.view().as<const float>()));
}

Result<ITensor*> MatrixProduct(NetworkContext& context, ITensor* a, bool transpose_a, ITensor* b,
                               bool transpose_b) {
  const int rank = std::max(a->getDimensions().nbDims, b->getDimensions().nbDims);
  VERDICT_ASSIGN_OR_RETURN(a, context.RaiseRank(a, rank));
  VERDICT_ASSIGN_OR_RETURN(b, context.RaiseRank(b, rank));
  const auto operation = [](bool transpose) {
    return transpose ? MatrixOperation::kTRANSPOSE : MatrixOperation::kNONE;
  };
  return context.Output(
      context.network().addMatrixMultiply(*a, operation(transpose_a), *b, operation(transpose_b)));
}

Result<ITensor*> Positions(NetworkContext& context, Dim length, uint32_t axes) {
  if (!IsSymbol(length)) {
    std::vector<int32_t> positions(static_cast<size_t>(length));
    std::iota(positions.begin(), positions.end(), 0);
    VERDICT_ASSIGN_OR_RETURN(
        ITensor * tensor,
        context.AddConstant(MakeDims(std::array{length}), context.StoredWeights(positions)));
    return context.Unsqueeze(tensor, axes);
  }
  VERDICT_ASSIGN_OR_RETURN(ITensor * extent, context.Extent(length));
  VERDICT_ASSIGN_OR_RETURN(ITensor * start, context.Scalar(Type::kINT32, 0, 0));
  VERDICT_ASSIGN_OR_RETURN(ITensor * delta, context.Scalar(Type::kINT32, 1, 1));
  const nvinfer1::Dims any = MakeDims(std::array{int64_t{1}});
#if NV_TENSORRT_MAJOR >= 10
  nvinfer1::IFillLayer* const fill =
      context.network().addFill(any, nvinfer1::FillOperation::kLINSPACE, Type::kINT32);
#else
  nvinfer1::IFillLayer* const fill =
      context.network().addFill(any, nvinfer1::FillOperation::kLINSPACE);
#endif
  if (fill != nullptr) {
    fill->setInput(0, *extent);
    fill->setInput(1, *start);
    fill->setInput(2, *delta);
  }
  VERDICT_ASSIGN_OR_RETURN(ITensor * positions, context.Output(fill));
  return context.Unsqueeze(positions, axes);
}

Result<ITensor*> SliceBlock(NetworkContext& context, ITensor* x, std::span<const int64_t> starts,
                            const Shape& sizes) {
  const std::vector<int64_t> strides(starts.size(), 1);
  if (sizes.IsStatic()) return context.Slice(x, starts, sizes.dims(), strides);
  VERDICT_ASSIGN_OR_RETURN(ITensor * start, context.Indices(starts));
  VERDICT_ASSIGN_OR_RETURN(ITensor * size, context.ShapeTensor(sizes));
  VERDICT_ASSIGN_OR_RETURN(ITensor * stride, context.Indices(strides));
  return context.Slice(x, start, size, stride);
}

}  // namespace verdict::tensorrt
