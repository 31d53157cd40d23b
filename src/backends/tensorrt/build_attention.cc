// Attention as two products around a Softmax, the form that TensorRT fuses.
#include <algorithm>
#include <limits>

#include "backends/tensorrt/builders.h"
#include "backends/tensorrt/shared_layers.h"
#include "ops/attention.h"

namespace verdict::tensorrt {
namespace {

using nvinfer1::ElementWiseOperation;
using nvinfer1::ReduceOperation;

constexpr size_t kQ = AttentionProblem::kQ, kK = AttentionProblem::kK, kV = AttentionProblem::kV,
                 kMask = AttentionProblem::kMask;
constexpr double kHidden = -std::numeric_limits<double>::infinity();

/// Extents may be symbols, and `scale` is then only valid where the node has it.
AttentionProblem ProblemOf(const Graph& graph, const Node& node) {
  std::vector<TensorView> inputs;
  for (ValueId id : node.inputs) {
    inputs.push_back(id == kNoValue
                         ? TensorView{}
                         : TensorView{graph.value(id).dtype, graph.value(id).shape, nullptr});
  }
  return AttentionProblemOf(node, inputs);
}

Status Supports(const Graph& graph, const Node& node) {
  for (size_t input : {kQ, kK, kV}) {
    if (graph.value(node.inputs[input]).dtype != DataType::kFloat32) return Decline("not float32");
  }
  const AttentionProblem problem = ProblemOf(graph, node);
  if (IsSymbol(problem.q.heads) || IsSymbol(problem.k.heads)) {
    return Decline("an unknown number of heads");
  }
  if (IsSymbol(problem.q.size) || IsSymbol(problem.v.size)) {
    return Decline("an unknown size of heads");
  }
  if (!HasInput(node, kMask)) return OkStatus();
  const Value& mask = graph.value(node.inputs[kMask]);
  if (mask.dtype != DataType::kFloat32 && mask.dtype != DataType::kBool) {
    return Decline("a mask of other than float32 or bool");
  }
  if (!problem.mask_as_add && mask.shape[mask.shape.rank() - 1] != problem.k.length) {
    return Decline("a mask that may have fewer keys than K");
  }
  return OkStatus();
}

/// As [batch, heads, length, size], or with the last two turned.
Result<ITensor*> HeadsFirst(NetworkContext& context, size_t input, const AttentionHeads& heads,
                            bool turned = false) {
  VERDICT_ASSIGN_OR_RETURN(ITensor * x, context.Input(input));
  if (!heads.heads_inside) return x;
  const int64_t dims[] = {0, 0, heads.heads, heads.size};
  VERDICT_ASSIGN_OR_RETURN(x, context.Reshape(x, dims));
  constexpr int kFirst[] = {0, 2, 1, 3};
  constexpr int kTurned[] = {0, 2, 3, 1};
  return context.Transpose(x, turned ? kTurned : kFirst);
}

/// [batch, heads, length, …] as [batch, to, …, …], rows of heads that come after each other put
/// together or apart.
Result<ITensor*> Regroup(NetworkContext& context, ITensor* x, int64_t to) {
  const int64_t dims[] = {0, to, -1, 0};
  return context.Reshape(x, dims);
}

/// What is added to the scores: the mask as floats.
Result<ITensor*> AddedMask(NetworkContext& context, const Node& node) {
  VERDICT_ASSIGN_OR_RETURN(ITensor * mask, context.Input(kMask));
  VERDICT_ASSIGN_OR_RETURN(mask, context.RaiseRank(mask, 4));
  if (context.graph().value(node.inputs[kMask]).dtype != DataType::kBool) return mask;
  VERDICT_ASSIGN_OR_RETURN(ITensor * shown, context.Scalar(Type::kFLOAT, 0, 4));
  VERDICT_ASSIGN_OR_RETURN(ITensor * hidden, context.Scalar(Type::kFLOAT, kHidden, 4));
  return context.Select(mask, shown, hidden);
}

/// Hides keys that come after their query.
Result<ITensor*> HideLaterKeys(NetworkContext& context, ITensor* scores,
                               const AttentionProblem& problem) {
  const Dim queries = problem.q.length, keys = problem.k.length;
  if (!IsSymbol(queries) && !IsSymbol(keys)) {
    std::vector<float> mask(static_cast<size_t>(queries * keys), 0.0F);
    for (int64_t query = 0; query < queries; ++query) {
      for (int64_t key = query + 1; key < keys; ++key) {
        mask[static_cast<size_t>(query * keys + key)] = static_cast<float>(kHidden);
      }
    }
    const int64_t dims[] = {1, 1, queries, keys};
    VERDICT_ASSIGN_OR_RETURN(ITensor * added, context.Floats(dims, mask));
    return context.Elementwise(scores, added, ElementWiseOperation::kSUM);
  }
  VERDICT_ASSIGN_OR_RETURN(ITensor * query, Positions(context, queries, 0b1011));
  VERDICT_ASSIGN_OR_RETURN(ITensor * key, Positions(context, keys, 0b0111));
  VERDICT_ASSIGN_OR_RETURN(ITensor * later,
                           context.Elementwise(key, query, ElementWiseOperation::kGREATER));
  VERDICT_ASSIGN_OR_RETURN(ITensor * hidden, context.Scalar(Type::kFLOAT, kHidden, 4));
  return context.Select(later, hidden, scores);
}

/// Over the keys. zero_if_hidden: rows of which everything is hidden become zeros, else NaN.
Result<ITensor*> Softmax(NetworkContext& context, ITensor* scores, bool zero_if_hidden) {
  nvinfer1::ISoftMaxLayer* const layer = context.network().addSoftMax(*scores);
  if (layer != nullptr) layer->setAxes(1U << 3);
  VERDICT_ASSIGN_OR_RETURN(ITensor * weights, context.Output(layer));
  if (!zero_if_hidden) return weights;
  VERDICT_ASSIGN_OR_RETURN(ITensor * largest,
                           context.Reduce(scores, ReduceOperation::kMAX, 1U << 3, true));
  VERDICT_ASSIGN_OR_RETURN(
      ITensor * all_hidden,
      context.Elementwise(largest, static_cast<double>(std::numeric_limits<float>::lowest()),
                          ElementWiseOperation::kLESS));
  VERDICT_ASSIGN_OR_RETURN(ITensor * zero, context.Scalar(Type::kFLOAT, 0, 4));
  return context.Select(all_hidden, zero, weights);
}

Result<ITensor*> AttentionOf(NetworkContext& context, const Node& node) {
  const AttentionProblem problem = ProblemOf(context.graph(), node);
  const bool shares_keys = problem.q.heads != problem.k.heads;
  VERDICT_ASSIGN_OR_RETURN(ITensor * q, HeadsFirst(context, kQ, problem.q));
  // One transposition puts keys in order for the product, which then reads them where they are: of
  // two, one by the product, 8.5 makes a copy.
  const bool turned = problem.k.heads_inside;
  VERDICT_ASSIGN_OR_RETURN(ITensor * k, HeadsFirst(context, kK, problem.k, turned));
  VERDICT_ASSIGN_OR_RETURN(ITensor * v, HeadsFirst(context, kV, problem.v));
  // The queries of heads that share a key head are as many more queries of that head.
  if (shares_keys) {
    VERDICT_ASSIGN_OR_RETURN(q, Regroup(context, q, problem.k.heads));
  }
  VERDICT_ASSIGN_OR_RETURN(ITensor * scores, MatrixProduct(context, q, false, k, !turned));
  if (shares_keys) {
    VERDICT_ASSIGN_OR_RETURN(scores, Regroup(context, scores, problem.q.heads));
  }
  VERDICT_ASSIGN_OR_RETURN(scores,
                           context.Elementwise(scores, problem.scale, ElementWiseOperation::kPROD));
  const auto softcap = static_cast<double>(AttributeReader(node).Float("softcap", 0));
  if (softcap > 0) {
    VERDICT_ASSIGN_OR_RETURN(scores,
                             context.Elementwise(scores, softcap, ElementWiseOperation::kDIV));
    VERDICT_ASSIGN_OR_RETURN(scores, context.Activation(scores, nvinfer1::ActivationType::kTANH));
    VERDICT_ASSIGN_OR_RETURN(scores,
                             context.Elementwise(scores, softcap, ElementWiseOperation::kPROD));
  }
  const bool has_mask = context.HasInput(kMask);
  if (has_mask) {
    VERDICT_ASSIGN_OR_RETURN(ITensor * mask, AddedMask(context, node));
    VERDICT_ASSIGN_OR_RETURN(scores, context.Elementwise(scores, mask, ElementWiseOperation::kSUM));
  }
  if (problem.causal) {
    VERDICT_ASSIGN_OR_RETURN(scores, HideLaterKeys(context, scores, problem));
  }
  // Without a mask the first key is never hidden.
  VERDICT_ASSIGN_OR_RETURN(ITensor * weights,
                           Softmax(context, scores, has_mask && !problem.mask_as_add));
  if (shares_keys) {
    VERDICT_ASSIGN_OR_RETURN(weights, Regroup(context, weights, problem.k.heads));
  }
  VERDICT_ASSIGN_OR_RETURN(ITensor * y, MatrixProduct(context, weights, false, v, false));
  if (shares_keys) {
    VERDICT_ASSIGN_OR_RETURN(y, Regroup(context, y, problem.q.heads));
  }
  if (!problem.q.heads_inside) return y;
  constexpr int kPermutation[] = {0, 2, 1, 3};
  VERDICT_ASSIGN_OR_RETURN(y, context.Transpose(y, kPermutation));
  const int64_t dims[] = {0, 0, problem.q.heads * problem.v.size};
  return context.Reshape(y, dims);
}

Status Add(NetworkContext& context, const Node& node) {
  return context.SetOutput(0, AttentionOf(context, node));
}

constexpr NodeBuilder kBuilders[] = {{"Attention", Supports, Add}};

}  // namespace

std::span<const NodeBuilder> AttentionBuilders() { return kBuilders; }

}  // namespace verdict::tensorrt
