#include "ops/axes.h"
#include "ops/list.h"
#include "ops/strided.h"

namespace verdict {
namespace {

/// The input axis that output axis `axis` comes from; the order is reversed by default.
int SourceAxis(std::span<const int64_t> perm, int axis, int rank) {
  return perm.empty() ? rank - 1 - axis : static_cast<int>(perm[static_cast<size_t>(axis)]);
}

Status Infer(InferContext& context) {
  const Shape& input = context.inputs[0].shape;
  const auto perm = context.attributes().Ints("perm");
  if (!perm.empty() && static_cast<int>(perm.size()) != input.rank()) {
    return context.Error("perm has " + std::to_string(perm.size()) +
                         " axes, but the input has shape " + ToString(input));
  }
  AxisSet seen = 0;
  Shape output;
  for (int axis = 0; axis < input.rank(); ++axis) {
    if (!perm.empty()) {
      const int64_t source = perm[static_cast<size_t>(axis)];
      if (source < 0 || source >= input.rank()) {
        return context.Error("perm: " + AxisMessage(source, input.rank()));
      }
    }
    const int source = SourceAxis(perm, axis, input.rank());
    if (HasAxis(seen, source)) {
      return context.Error("perm names axis " + std::to_string(source) + " twice");
    }
    seen |= AxisSet{1} << source;
    output.push_back(input[source]);
  }
  context.SetOutput(0, context.inputs[0].dtype, output);
  return OkStatus();
}

Status Run(KernelContext& context) {
  const TensorView& x = context.inputs[0];
  const TensorView& y = context.outputs[0];
  const auto perm = context.attributes().Ints("perm");
  const Strides dense = DenseStrides(x.shape);
  Strides permuted{};
  for (int axis = 0; axis < x.shape.rank(); ++axis) {
    permuted[static_cast<size_t>(axis)] =
        dense[static_cast<size_t>(SourceAxis(perm, axis, x.shape.rank()))];
  }
  CopyStrided({y.shape, {DenseStrides(y.shape), permuted}}, y.data, x.data, ElementSize(x.dtype));
  return OkStatus();
}

constexpr AttributeSpec kAttributes[] = {{"perm", AttributeType::kInts}};

}  // namespace

const OpDef kTransposeOp = {.name = "Transpose",
                            .min_inputs = 1,
                            .max_inputs = 1,
                            .min_outputs = 1,
                            .max_outputs = 1,
                            .attributes = kAttributes,
                            .infer = Infer,
                            .run = Run};

}  // namespace verdict
