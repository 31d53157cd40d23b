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

/// y = x * scale + shift along the last axis, in double.
struct Affine {
  std::vector<double> scale, shift;
};

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
    const auto gamma = channel(1), beta = channel(2), mean = channel(3), variance = channel(4);
    if (!gamma || !beta || !mean || !variance) return std::nullopt;
    const double epsilon = AttributeReader(node).Float("epsilon", 1e-5F);
    for (size_t c = 0; c < affine.scale.size(); ++c) {
      affine.scale[c] = (*gamma)[c] / std::sqrt((*variance)[c] + epsilon);
      affine.shift[c] = (*beta)[c] - (*mean)[c] * affine.scale[c];
    }
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
  const auto usable = [](double value) { return std::isfinite(value); };
  if (!std::ranges::all_of(affine.scale, usable) || !std::ranges::all_of(affine.shift, usable)) {
    return std::nullopt;
  }
  return affine;
}

bool FoldOne(Graph& graph, const Uses& uses, size_t index) {
  Node& gemm = graph.nodes[index];
  if (gemm.op != "FusedGemm") return false;
  const ValueId x = gemm.inputs[0];
  const Node* node = uses.Producer(x);
  if (node == nullptr || !uses.HasSingleUse(x)) return false;
  const ValueId source = node->inputs[0];
  // Not where the node casts, or broadcasts its input to more rows.
  if (source == kNoValue || graph.constant(source) != nullptr ||
      graph.value(source).dtype != DataType::kFloat32 ||
      !(graph.value(source).shape == graph.value(x).shape)) {
    return false;
  }
  const Shape shape = graph.value(gemm.inputs[1]).shape;
  const int64_t k = shape[0], n = shape[1];
  const auto affine = AffineOf(graph, *node, k);
  if (!affine) return false;
  if (std::ranges::any_of(affine->shift, [](double s) { return std::fabs(s) > kMaxShift; })) {
    return false;
  }
  auto weights = FloatConstant(graph, gemm.inputs[1]);
  std::vector<double> bias(static_cast<size_t>(n), 0.0);
  if (gemm.inputs.size() > 2) bias = *FloatConstant(graph, gemm.inputs[2]);
  for (int64_t row = 0; row < k; ++row) {
    for (int64_t column = 0; column < n; ++column) {
      double& weight = (*weights)[static_cast<size_t>(row * n + column)];
      bias[static_cast<size_t>(column)] += affine->shift[static_cast<size_t>(row)] * weight;
      weight *= affine->scale[static_cast<size_t>(row)];
    }
  }
  const std::string name = graph.value(gemm.inputs[1]).name;
  const ValueId new_weights = AddFloats(graph, name, shape, *weights);
  const ValueId new_bias = AddFloats(graph, name + "/bias", Shape{n}, bias);
  gemm.inputs = {source, new_weights, new_bias};
  graph.nodes.erase(graph.nodes.begin() + uses.ProducerIndex(x));
  return true;
}

Result<bool> Run(Graph& graph) {
  bool changed = false;
  Uses uses(graph);
  for (size_t index = 0; index < graph.nodes.size();) {
    if (FoldOne(graph, uses, index)) {
      uses.Refresh();
      changed = true;
      --index;  // the gemm moved up; another scaler may stand before it
    } else {
      ++index;
    }
  }
  return changed;
}

}  // namespace

const Pass kFoldScaler = {.name = "fold_scaler",
                          .summary =
                              "a Scaler, BatchNormalization or per-feature Add/Sub/Mul/Div before "
                              "a FusedGemm goes into its weights",
                          .run = Run};

}  // namespace verdict
