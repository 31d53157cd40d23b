#include <algorithm>
#include <cmath>

#include "ops/dispatch.h"
#include "ops/extents.h"
#include "ops/linear.h"
#include "ops/list.h"
#include "ops/quantize.h"
#include "ops/quantized_gemm.h"

namespace verdict {
namespace {

constexpr AttributeSpec kAttributes[] = {{"zero_point", AttributeType::kInt},
                                         {"activation", AttributeType::kString},
                                         {"alpha", AttributeType::kFloat}};

Status Infer(InferContext& context) {
  VERDICT_RETURN_IF_ERROR(RequireType(context, 0, Types<float>{}));
  VERDICT_RETURN_IF_ERROR(RequireType(context, 1, Types<int8_t>{}));
  VERDICT_RETURN_IF_ERROR(RequireType(context, 2, Types<float>{}));
  VERDICT_RETURN_IF_ERROR(RequireType(context, 3, Types<float>{}));
  if (context.has_input(4)) {
    VERDICT_RETURN_IF_ERROR(RequireType(context, 4, Types<float>{}));
  }
  VERDICT_RETURN_IF_ERROR(InferLinear(context, 4, DataType::kFloat32));
  const Shape& b = context.inputs[1].shape;
  if (context.inputs[2].shape != Shape{1}) {
    VERDICT_RETURN_IF_ERROR(RequireShape(context, 2, "A's scale", {}));
  }
  VERDICT_RETURN_IF_ERROR(RequireShape(context, 3, "B's scales", {b[1]}));
  if (!IsSymbol(b[0]) && b[0] > kMaxQuantizedDepth) {
    return context.Error("more than " + std::to_string(kMaxQuantizedDepth) +
                         " products a sum: int32 might overflow");
  }
  const int64_t zero_point = context.attributes().Int("zero_point", kSignedZeroPoint);
  if (zero_point < 0 || zero_point > 255) return context.Error("zero_point is not in 0..255");
  return OkStatus();
}

Status Run(KernelContext& context) {
  const int64_t k = context.inputs[1].shape[0], n = context.inputs[1].shape[1];
  const auto y = context.out<float>(0);
  if (y.empty()) return OkStatus();
  const auto a = context.in<float>(0);
  const auto b = context.in<int8_t>(1);
  const float a_scale = context.in<float>(2)[0];
  const auto b_scales = context.in<float>(3);
  const auto attributes = context.attributes();
  const auto zero_point = static_cast<uint8_t>(attributes.Int("zero_point", kSignedZeroPoint));
  const int64_t m = static_cast<int64_t>(y.size()) / n;
  for (int64_t row = 0; row < m; ++row) {
    for (int64_t column = 0; column < n; ++column) {
      int32_t sum = 0;
      for (int64_t p = 0; p < k; ++p) {
        sum += (Quantize(a[static_cast<size_t>(row * k + p)], a_scale, zero_point) - zero_point) *
               b[static_cast<size_t>(p * n + column)];
      }
      const auto at = static_cast<size_t>(column);
      const float bias = context.has_input(4) ? context.in<float>(4)[at] : 0.0F;
      // As the kernels do it, to the bit.
      y[static_cast<size_t>(row * n + column)] =
          std::fma(static_cast<float>(sum), b_scales[at] * a_scale, bias);
    }
  }
  Apply(ActivationOf(attributes), y);
  return OkStatus();
}

}  // namespace

const OpDef kQuantizedGemmOp = {.name = "QuantizedGemm",
                                .min_inputs = 4,
                                .max_inputs = 5,
                                .min_outputs = 1,
                                .max_outputs = 1,
                                .attributes = kAttributes,
                                .infer = Infer,
                                .run = Run};

}  // namespace verdict
