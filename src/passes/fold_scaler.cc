#include <algorithm>
#include <cmath>

#include "ops/op.h"
#include "passes/match.h"
#include "passes/pass.h"

namespace verdict {
namespace {

/// Folding turns (x - o) * s * W into x * (s * W) - (o * s) * W. In float32 the two large terms
/// then cancel, and about |o * s| * 2^-24 * |W| of the result is lost. Up to this |o * s| (a
/// feature whose mean is 8 of its standard deviations away from zero) that stays an order of
/// magnitude inside the 1e-5 we promise; beyond it the scaler is left alone.
constexpr double kMaxShift = 8.0;

std::optional<Affine> AffineOf(const Graph& graph, const Node& node, int64_t channels) {
  Affine affine{std::vector<double>(static_cast<size_t>(channels), 1.0),
                std::vector<double>(static_cast<size_t>(channels), 0.0)};
  const auto channel = [&](size_t input) {
    return ChannelConstant(graph, node.inputs[input], channels);
  };
  if (node.op == "Scaler") {
    const auto offset = channel(1), scale = channel(2);
    if (!offset || !scale) return std::nullopt;
    for (size_t c = 0; c < affine.scale.size(); ++c) {
      affine.scale[c] = (*scale)[c];
      affine.shift[c] = -(*offset)[c] * (*scale)[c];
    }
  } else if (node.op == "BatchNormalization") {
    if (graph.value(node.inputs[0]).shape.rank() != 2) return std::nullopt;
    return BatchNormAffine(graph, node, channels);
  } else if (node.op == "Sub" || node.op == "Add") {
    const auto addend = channel(1);
    if (!addend) return std::nullopt;
    for (size_t c = 0; c < affine.shift.size(); ++c) {
      affine.shift[c] = node.op == "Add" ? (*addend)[c] : -(*addend)[c];
    }
  } else if (node.op == "Mul" || node.op == "Div") {
    const auto factor = channel(1);
    if (!factor) return std::nullopt;
    for (size_t c = 0; c < affine.scale.size(); ++c) {
      affine.scale[c] = node.op == "Mul" ? (*factor)[c] : 1.0 / (*factor)[c];
    }
  } else {
    return std::nullopt;
  }
  if (!affine.IsFinite()) return std::nullopt;
  return affine;
}

/// The elementwise nodes that lead to one FusedGemm, as one step.
struct Chain {
  Affine affine;               // from `source` to the product's input
  ValueId source = kNoValue;   // what the first of them reads
  std::vector<int32_t> nodes;  // indices
};

/// May the node that makes `x` go into what alone reads `x`, as far as shapes and readers go?
bool IsFoldable(const Graph& graph, const Uses& uses, ValueId x) {
  const Node* node = uses.Producer(x);
  if (node == nullptr || !uses.HasSingleUse(x) || node->inputs.empty()) return false;
  const ValueId source = node->inputs[0];
  // Not where the node casts, or broadcasts its input to more rows.
  return source != kNoValue && graph.constant(source) == nullptr &&
         graph.value(source).dtype == DataType::kFloat32 &&
         graph.value(source).shape == graph.value(x).shape;
}

/// Gathers from the product outwards, so that every shift is judged at the scale at which it
/// reaches the weights. All or nothing: weights do not tell which scale they took in, so that a
/// second look would judge what was left before them by its own shift alone.
std::optional<Chain> GatherChain(const Graph& graph, const Uses& uses, ValueId x, int64_t k) {
  const auto size = static_cast<size_t>(k);
  Chain chain{.affine = {std::vector<double>(size, 1.0), std::vector<double>(size, 0.0)},
              .source = x};
  while (IsFoldable(graph, uses, chain.source)) {
    const Node& node = *uses.Producer(chain.source);
    const auto step = AffineOf(graph, node, k);
    if (!step) break;
    auto& [scale, shift] = chain.affine;
    for (size_t row = 0; row < size; ++row) {
      const double step_shift = scale[row] * step->shift[row];
      shift[row] += step_shift;
      scale[row] *= step->scale[row];
      const bool is_small =
          std::fabs(step_shift) <= kMaxShift && std::fabs(shift[row]) <= kMaxShift;
      if (!is_small || !std::isfinite(scale[row])) return std::nullopt;
    }
    chain.nodes.push_back(uses.ProducerIndex(chain.source));
    chain.source = node.inputs[0];
  }
  if (chain.nodes.empty()) return std::nullopt;
  return chain;
}

/// Folds what leads to `gemm` into it.
bool FoldInto(Graph& graph, const Uses& uses, Node& gemm) {
  if (gemm.op != "FusedGemm") return false;
  auto weights = FloatConstant(graph, gemm.inputs[1]);
  if (!weights) return false;
  const Shape shape = graph.value(gemm.inputs[1]).shape;
  const int64_t k = shape[0], n = shape[1];
  std::vector<double> bias(static_cast<size_t>(n), 0.0);
  if (gemm.inputs.size() > 2 && gemm.inputs[2] != kNoValue) {
    auto given = FloatConstant(graph, gemm.inputs[2]);
    if (!given) return false;
    bias = *std::move(given);
  }
  const auto chain = GatherChain(graph, uses, gemm.inputs[0], k);
  if (!chain) return false;
  for (int64_t row = 0; row < k; ++row) {
    for (int64_t column = 0; column < n; ++column) {
      double& weight = (*weights)[static_cast<size_t>(row * n + column)];
      bias[static_cast<size_t>(column)] += chain->affine.shift[static_cast<size_t>(row)] * weight;
      weight *= chain->affine.scale[static_cast<size_t>(row)];
    }
  }
  if (!FitFloat(*weights) || !FitFloat(bias)) return false;
  const std::string name = graph.value(gemm.inputs[1]).name;
  const ValueId new_weights = AddFloats(graph, name, shape, *weights);
  const ValueId new_bias = AddFloats(graph, name + "/bias", Shape{n}, bias);
  gemm.inputs = {chain->source, new_weights, new_bias};
  for (int32_t node : chain->nodes) Drop(graph.nodes[static_cast<size_t>(node)]);
  return true;
}

Result<bool> Run(Graph& graph) {
  bool changed = false;
  Uses uses(graph);
  for (Node& node : graph.nodes) changed = FoldInto(graph, uses, node) || changed;
  Sweep(graph);
  return changed;
}

}  // namespace

const Pass kFoldScaler = {.name = "fold_scaler",
                          .summary =
                              "a Scaler, BatchNormalization or per-feature Add/Sub/Mul/Div before "
                              "a FusedGemm goes into its weights",
                          .run = Run};

}  // namespace verdict
