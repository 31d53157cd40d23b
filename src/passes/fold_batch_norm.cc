#include "ops/op.h"
#include "passes/match.h"
#include "passes/pass.h"

namespace verdict {
namespace {

/// Folds into the columns of a FusedGemm or the filters of a Conv.
bool FoldInto(Graph& graph, Node& linear, const Affine& affine) {
  const bool is_gemm = linear.op == "FusedGemm";
  auto weights = FloatConstant(graph, linear.inputs[1]);
  const size_t channels = affine.scale.size();
  if (!weights || weights->empty() || graph.value(linear.inputs[1]).dtype != DataType::kFloat32) {
    return false;
  }
  const Shape shape = graph.value(linear.inputs[1]).shape;
  if (shape[is_gemm ? 1 : 0] != static_cast<int64_t>(channels)) return false;
  std::vector<double> bias(channels, 0.0);
  const bool has_bias = linear.inputs.size() > 2 && linear.inputs[2] != kNoValue;
  if (has_bias) {
    auto given = ChannelConstant(graph, linear.inputs[2], static_cast<int64_t>(channels));
    if (!given) return false;
    bias = *std::move(given);
  }
  // Conv: elements of one output channel's filter.
  const size_t filter = weights->size() / channels;
  for (size_t i = 0; i < weights->size(); ++i) {
    (*weights)[i] *= affine.scale[is_gemm ? i % channels : i / filter];
  }
  for (size_t c = 0; c < channels; ++c) bias[c] = bias[c] * affine.scale[c] + affine.shift[c];
  if (!FitFloat(*weights) || !FitFloat(bias)) return false;
  const std::string name = graph.value(linear.inputs[1]).name;
  const ValueId new_weights = AddFloats(graph, name, shape, *weights);
  const ValueId new_bias =
      AddFloats(graph, name + "/bias", Shape{static_cast<int64_t>(channels)}, bias);
  linear.inputs.resize(3, kNoValue);
  linear.inputs[1] = new_weights;
  linear.inputs[2] = new_bias;
  return true;
}

bool FoldOne(Graph& graph, Uses& uses, Node& node) {
  if (node.op != "BatchNormalization" || !uses.HasSingleUse(node.inputs[0])) return false;
  const int32_t producer = uses.ProducerIndex(node.inputs[0]);
  if (producer < 0) return false;
  Node& linear = graph.nodes[static_cast<size_t>(producer)];
  // A FusedGemm's channels are its last axis; BatchNormalization's are axis 1.
  const bool gemm = linear.op == "FusedGemm" && graph.value(node.inputs[0]).shape.rank() == 2 &&
                    AttributeReader(linear).String("activation", "").empty();
  if (!gemm && linear.op != "Conv") return false;
  const Dim channels = graph.value(linear.inputs[1]).shape[gemm ? 1 : 0];
  if (IsSymbol(channels)) return false;
  const auto affine = BatchNormAffine(graph, node, channels);
  if (!affine || !FoldInto(graph, linear, *affine)) return false;
  linear.outputs[0] = node.outputs[0];
  uses.SetProducer(linear.outputs[0], producer);
  Drop(node);
  return true;
}

Result<bool> Run(Graph& graph) {
  bool changed = false;
  Uses uses(graph);
  for (Node& node : graph.nodes) changed = FoldOne(graph, uses, node) || changed;
  Sweep(graph);
  return changed;
}

}  // namespace

const Pass kFoldBatchNorm = {
    .name = "fold_batch_norm",
    .summary = "BatchNormalization after a FusedGemm or Conv goes into its weights and bias",
    .run = Run};

}  // namespace verdict
