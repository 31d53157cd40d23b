#include <limits>

#include "ops/dispatch.h"
#include "ops/list.h"

namespace verdict {
namespace {

Status Infer(InferContext& context) {
  VERDICT_RETURN_IF_ERROR(RequireType(context, 0, NumericTypes{}));
  for (size_t bound = 1; bound < 3; ++bound) {
    if (!context.has_input(bound)) continue;
    VERDICT_RETURN_IF_ERROR(RequireSameType(context, 0, bound));
    const Shape& shape = context.inputs[bound].shape;
    if (shape.rank() > 1 || (shape.rank() == 1 && shape[0] != 1)) {
      return context.Error(std::string(bound == 1 ? "min" : "max") +
                           " must be a scalar, but has shape " + ToString(shape));
    }
  }
  context.SetOutput(0, context.inputs[0].dtype, context.inputs[0].shape);
  return OkStatus();
}

/// NaN stays NaN; where min > max, every value becomes max.
Status Run(KernelContext& context) {
  return Dispatch(NumericTypes{}, context.inputs[0].dtype, [&]<typename T>(T) {
    using Limits = std::numeric_limits<T>;
    constexpr bool kFloat = std::is_floating_point_v<T>;
    const T low = context.has_input(1) ? context.in<T>(1)[0]
                                       : (kFloat ? -Limits::infinity() : Limits::lowest());
    const T high =
        context.has_input(2) ? context.in<T>(2)[0] : (kFloat ? Limits::infinity() : Limits::max());
    const auto x = context.in<T>(0);
    const auto y = context.out<T>(0);
    for (size_t i = 0; i < x.size(); ++i) {
      const T raised = x[i] < low ? low : x[i];
      y[i] = raised > high ? high : raised;
    }
    return OkStatus();
  });
}

}  // namespace

const OpDef kClipOp = {.name = "Clip",
                       .min_inputs = 1,
                       .max_inputs = 3,
                       .min_outputs = 1,
                       .max_outputs = 1,
                       .attributes = {},
                       .infer = Infer,
                       .run = Run};

}  // namespace verdict
