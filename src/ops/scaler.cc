#include "ops/feature_types.h"
#include "ops/list.h"

namespace verdict {
namespace {

Status Infer(InferContext& context) {
  VERDICT_RETURN_IF_ERROR(RequireType(context, 0, FeatureTypes{}));
  VERDICT_RETURN_IF_ERROR(RequireType(context, 1, Types<float>{}));
  VERDICT_RETURN_IF_ERROR(RequireType(context, 2, Types<float>{}));
  VERDICT_RETURN_IF_ERROR(RequirePerFeature(context, 1, "offset"));
  VERDICT_RETURN_IF_ERROR(RequirePerFeature(context, 2, "scale"));
  context.SetOutput(0, DataType::kFloat32, context.inputs[0].shape);
  return OkStatus();
}

Status Run(KernelContext& context) {
  const auto offset = context.in<float>(1);
  const auto scale = context.in<float>(2);
  const auto y = context.out<float>(0);
  const Shape& shape = context.inputs[0].shape;
  const auto features = static_cast<size_t>(shape[shape.rank() - 1]);
  return Dispatch(FeatureTypes{}, context.inputs[0].dtype, [&](auto zero) {
    const auto x = context.in<decltype(zero)>(0);
    for (size_t i = 0; i < x.size(); ++i) {
      const size_t feature = i % features;
      y[i] = static_cast<float>((x[i] - offset[offset.size() == 1 ? 0 : feature]) *
                                scale[scale.size() == 1 ? 0 : feature]);
    }
    return OkStatus();
  });
}

}  // namespace

const OpDef kScalerOp = {.name = "Scaler",
                         .min_inputs = 3,
                         .max_inputs = 3,
                         .min_outputs = 1,
                         .max_outputs = 1,
                         .attributes = {},
                         .infer = Infer,
                         .run = Run};

}  // namespace verdict
