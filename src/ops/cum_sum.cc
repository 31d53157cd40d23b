#include "ops/axes.h"
#include "ops/dispatch.h"
#include "ops/extents.h"
#include "ops/list.h"
#include "ops/wrapping.h"

namespace verdict {
namespace {

using SumTypes = Types<float, double, int32_t, int64_t, uint32_t, uint64_t>;

Status Infer(InferContext& context) {
  VERDICT_RETURN_IF_ERROR(RequireType(context, 0, SumTypes{}));
  VERDICT_RETURN_IF_ERROR(RequireInts(context, 1));
  const TensorView& x = context.inputs[0];
  const TensorView& axis = context.inputs[1];
  if (!axis.shape.IsStatic() || axis.size() != 1) {
    return context.Error(InputText(context, 1, "axis") + ", needs one element");
  }
  if (axis.data != nullptr) {
    VERDICT_ASSIGN_OR_RETURN([[maybe_unused]] const int checked,
                             NormalizeAxis(context, IntElement(axis, 0), x.shape.rank()));
  }
  context.SetOutput(0, x.dtype, x.shape);
  return OkStatus();
}

Status Run(KernelContext& context) {
  const TensorView& input = context.inputs[0];
  VERDICT_ASSIGN_OR_RETURN(
      const int axis, NormalizeAxis(context, IntElement(context.inputs[1], 0), input.shape.rank()));
  const bool exclusive = context.attributes().Int("exclusive", 0) != 0;
  const bool reverse = context.attributes().Int("reverse", 0) != 0;
  const AxisSplit split = SplitAt(input.shape, axis);
  return Dispatch(SumTypes{}, input.dtype, [&]<typename T>(T) {
    const T* x = context.in<T>(0).data();
    T* y = context.out<T>(0).data();
    for (int64_t i = 0; i < split.outer * split.inner; ++i) {
      const int64_t start = i / split.inner * split.extent * split.inner + i % split.inner;
      std::conditional_t<std::is_floating_point_v<T>, double, T> sum = 0;
      for (int64_t k = 0; k < split.extent; ++k) {
        const int64_t at = start + (reverse ? split.extent - 1 - k : k) * split.inner;
        if (exclusive) y[at] = static_cast<T>(sum);
        sum = WrapAdd<decltype(sum)>(sum, x[at]);
        if (!exclusive) y[at] = static_cast<T>(sum);
      }
    }
    return OkStatus();
  });
}

constexpr AttributeSpec kAttributes[] = {{"exclusive", AttributeType::kInt},
                                         {"reverse", AttributeType::kInt}};

}  // namespace

const OpDef kCumSumOp = {.name = "CumSum",
                         .min_inputs = 2,
                         .max_inputs = 2,
                         .min_outputs = 1,
                         .max_outputs = 1,
                         .attributes = kAttributes,
                         .infer = Infer,
                         .run = Run};

}  // namespace verdict
