#include "ops/feature_types.h"
#include "ops/list.h"

namespace verdict {
namespace {

using ImputedTypes = Types<float, double, int64_t>;

Status Infer(InferContext& context) {
  VERDICT_RETURN_IF_ERROR(RequireSameTypes(context, ImputedTypes{}));
  VERDICT_RETURN_IF_ERROR(RequirePerFeature(context, 1, "values"));
  VERDICT_RETURN_IF_ERROR(RequireShape(context, 2, "replaced", {}));
  context.SetOutput(0, context.inputs[0].dtype, context.inputs[0].shape);
  return OkStatus();
}

Status Run(KernelContext& context) {
  const Shape& shape = context.inputs[0].shape;
  const auto features = static_cast<size_t>(shape[shape.rank() - 1]);
  return Dispatch(ImputedTypes{}, context.inputs[0].dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto x = context.in<T>(0);
    const auto values = context.in<T>(1);
    const T replaced = context.in<T>(2)[0];
    const auto y = context.out<T>(0);
    const bool replaces_nan = replaced != replaced;
    for (size_t i = 0; i < x.size(); ++i) {
      const bool missing = replaces_nan ? x[i] != x[i] : x[i] == replaced;
      y[i] = missing ? values[values.size() == 1 ? 0 : i % features] : x[i];
    }
    return OkStatus();
  });
}

}  // namespace

const OpDef kImputerOp = {.name = "Imputer",
                          .min_inputs = 3,
                          .max_inputs = 3,
                          .min_outputs = 1,
                          .max_outputs = 1,
                          .attributes = {},
                          .infer = Infer,
                          .run = Run};

}  // namespace verdict
