#include "ops/axes.h"
#include "ops/dispatch.h"
#include "ops/list.h"

namespace verdict {
namespace {

Status Infer(InferContext& context) {
  VERDICT_RETURN_IF_ERROR(RequireType(context, 0, NumericTypes{}));
  const Shape& input = context.inputs[0].shape;
  VERDICT_ASSIGN_OR_RETURN(
      const int axis, NormalizeAxis(context, context.attributes().Int("axis", 0), input.rank()));
  if (input[axis] == 0) {
    return context.Error("axis " + std::to_string(axis) +
                         " has extent 0, so that there is no index");
  }
  Shape output;
  for (int i = 0; i < input.rank(); ++i) {
    if (i != axis) {
      output.push_back(input[i]);
    } else if (context.attributes().Int("keepdims", 1) != 0) {
      output.push_back(1);
    }
  }
  context.SetOutput(0, DataType::kInt64, output);
  return OkStatus();
}

/// Of equal elements the first (or, as the attribute says, the last) is chosen.
template <bool kMax>
Status Run(KernelContext& context) {
  const TensorView& input = context.inputs[0];
  VERDICT_ASSIGN_OR_RETURN(
      const int axis,
      NormalizeAxis(context, context.attributes().Int("axis", 0), input.shape.rank()));
  const bool last = context.attributes().Int("select_last_index", 0) != 0;
  const AxisSplit split = SplitAt(input.shape, axis);
  return Dispatch(NumericTypes{}, input.dtype, [&]<typename T>(T) {
    const T* x = context.in<T>(0).data();
    int64_t* y = context.out<int64_t>(0).data();
    for (int64_t outer = 0; outer < split.outer; ++outer) {
      for (int64_t inner = 0; inner < split.inner; ++inner) {
        const T* column = x + outer * split.extent * split.inner + inner;
        int64_t best = 0;
        for (int64_t i = 1; i < split.extent; ++i) {
          const T candidate = column[i * split.inner];
          const T champion = column[best * split.inner];
          const bool better = kMax ? candidate > champion : candidate < champion;
          if (better || (last && candidate == champion)) best = i;
        }
        *y++ = best;
      }
    }
    return OkStatus();
  });
}

constexpr AttributeSpec kAttributes[] = {{"axis", AttributeType::kInt},
                                         {"keepdims", AttributeType::kInt},
                                         {"select_last_index", AttributeType::kInt}};

template <bool kMax>
constexpr OpDef ArgOp(std::string_view name) {
  return {.name = name,
          .min_inputs = 1,
          .max_inputs = 1,
          .min_outputs = 1,
          .max_outputs = 1,
          .attributes = kAttributes,
          .infer = Infer,
          .run = Run<kMax>};
}

}  // namespace

const OpDef kArgMaxOp = ArgOp<true>("ArgMax");
const OpDef kArgMinOp = ArgOp<false>("ArgMin");

}  // namespace verdict
