#include "ops/feature_types.h"
#include "ops/list.h"

namespace verdict {
namespace {

constexpr AttributeSpec kAttributes[] = {{"threshold", AttributeType::kFloat}};

Status Infer(InferContext& context) {
  VERDICT_RETURN_IF_ERROR(RequireType(context, 0, FeatureTypes{}));
  context.SetOutput(0, context.inputs[0].dtype, context.inputs[0].shape);
  return OkStatus();
}

Status Run(KernelContext& context) {
  const float threshold = context.attributes().Float("threshold", 0.0F);
  return Dispatch(FeatureTypes{}, context.inputs[0].dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto x = context.in<T>(0);
    const auto y = context.out<T>(0);
    for (size_t i = 0; i < x.size(); ++i) {
      y[i] = static_cast<double>(x[i]) > static_cast<double>(threshold) ? T(1) : T(0);
    }
    return OkStatus();
  });
}

}  // namespace

const OpDef kBinarizerOp = {.name = "Binarizer",
                            .min_inputs = 1,
                            .max_inputs = 1,
                            .min_outputs = 1,
                            .max_outputs = 1,
                            .attributes = kAttributes,
                            .infer = Infer,
                            .run = Run};

}  // namespace verdict
