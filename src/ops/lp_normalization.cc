#include <cmath>

#include "ops/axes.h"
#include "ops/dispatch.h"
#include "ops/list.h"

namespace verdict {
namespace {

constexpr AttributeSpec kAttributes[] = {{"axis", AttributeType::kInt}, {"p", AttributeType::kInt}};

Status Infer(InferContext& context) {
  VERDICT_RETURN_IF_ERROR(RequireType(context, 0, FloatTypes{}));
  const TensorView& x = context.inputs[0];
  const auto attributes = context.attributes();
  VERDICT_RETURN_IF_ERROR(
      NormalizeAxis(context, attributes.Int("axis", -1), x.shape.rank()).status());
  const int64_t p = attributes.Int("p", 2);
  if (p != 1 && p != 2) {
    return context.Error("p is " + std::to_string(p) + ", needs 1 or 2");
  }
  context.SetOutput(0, x.dtype, x.shape);
  return OkStatus();
}

Status Run(KernelContext& context) {
  const TensorView& x = context.inputs[0];
  const auto attributes = context.attributes();
  const int axis = NormalizeAxis(context, attributes.Int("axis", -1), x.shape.rank()).value();
  const bool squares = attributes.Int("p", 2) == 2;
  const AxisSplit split = SplitAt(x.shape, axis);
  return Dispatch(FloatTypes{}, x.dtype, [&](auto zero) {
    using T = decltype(zero);
    for (int64_t outer = 0; outer < split.outer; ++outer) {
      for (int64_t inner = 0; inner < split.inner; ++inner) {
        const int64_t start = outer * split.extent * split.inner + inner;
        const T* in = context.in<T>(0).data() + start;
        T* out = context.out<T>(0).data() + start;
        double sum = 0;
        for (int64_t i = 0; i < split.extent; ++i) {
          const double value = in[i * split.inner];
          sum += squares ? value * value : std::abs(value);
        }
        const double norm = squares ? std::sqrt(sum) : sum;
        for (int64_t i = 0; i < split.extent * split.inner; i += split.inner) {
          out[i] = norm == 0 ? T(0) : static_cast<T>(in[i] / norm);
        }
      }
    }
    return OkStatus();
  });
}

}  // namespace

const OpDef kLpNormalizationOp = {.name = "LpNormalization",
                                  .min_inputs = 1,
                                  .max_inputs = 1,
                                  .min_outputs = 1,
                                  .max_outputs = 1,
                                  .attributes = kAttributes,
                                  .infer = Infer,
                                  .run = Run};

}  // namespace verdict
