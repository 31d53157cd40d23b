#include "backends/cpu/layer_norm_kernel.h"
#include "backends/cpu/tactics.h"
#include "ops/axes.h"

namespace verdict::cpu {
namespace {

Status Accepts(const Graph& graph, const Node& node) {
  const Value& x = graph.value(node.inputs[0]);
  if (x.dtype != DataType::kFloat32) return Unimplemented("not of float32");
  for (size_t i = 1; i < node.outputs.size(); ++i) {
    if (node.outputs[i] != kNoValue) return Unimplemented("mean or deviation are asked for");
  }
  for (size_t i = 1; i < node.inputs.size(); ++i) {
    if (node.inputs[i] == kNoValue) continue;
    const Shape& shape = graph.value(node.inputs[i]).shape;
    if (!shape.IsStatic() || NumElements(shape).value() == 1) {
      return Unimplemented("it may have one scale or shift for all elements");
    }
  }
  return OkStatus();
}

Status Run(KernelContext& context) {
  const Shape& shape = context.inputs[0].shape;
  const auto attributes = context.attributes();
  VERDICT_ASSIGN_OR_RETURN(const int axis,
                           NormalizeAxis(context, attributes.Int("axis", -1), shape.rank()));
  NormalizeRowsArgs args{.rows = 1, .size = 1};
  for (int i = 0; i < shape.rank(); ++i) (i < axis ? args.rows : args.size) *= shape[i];
  if (args.size == 0) return OkStatus();
  args.x = context.in<float>(0).data();
  args.scale = context.in<float>(1).data();
  if (context.has_input(2)) args.bias = context.in<float>(2).data();
  args.y = context.out<float>(0).data();
  args.epsilon = attributes.Float("epsilon", 1e-5F);
  NormalizeRows(args);
  return OkStatus();
}

}  // namespace

const Tactic kLayerNormalization = {
    .id = "cpu/layer_normalization", .op = "LayerNormalization", .accepts = Accepts, .run = Run};

}  // namespace verdict::cpu
