#include <cmath>
#include <limits>

#include "ops/feature_types.h"
#include "ops/list.h"

namespace verdict {
namespace {

constexpr AttributeSpec kAttributes[] = {{"norm", AttributeType::kString}};

Status Infer(InferContext& context) {
  VERDICT_RETURN_IF_ERROR(RequireType(context, 0, FeatureTypes{}));
  VERDICT_RETURN_IF_ERROR(RequireRank(context, 0, "X", 1, 2));
  const std::string_view norm = context.attributes().String("norm", "MAX");
  if (norm != "MAX" && norm != "L1" && norm != "L2") {
    return context.Error("unknown norm '" + std::string(norm) + "'; known are MAX, L1 and L2");
  }
  context.SetOutput(0, DataType::kFloat32, context.inputs[0].shape);
  return OkStatus();
}

/// MAX is the greatest value, not the greatest magnitude, and passes over NaN: ONNX Runtime's rule.
template <typename T>
double Norm(std::string_view norm, std::span<const T> row) {
  double result = norm == "MAX" ? std::numeric_limits<float>::lowest() : 0;
  for (T element : row) {
    const auto x = static_cast<double>(element);
    if (norm == "MAX") {
      if (x > result) result = x;
    } else {
      result += norm == "L1" ? std::abs(x) : x * x;
    }
  }
  return norm == "L2" ? std::sqrt(result) : result;
}

Status Run(KernelContext& context) {
  const std::string_view name = context.attributes().String("norm", "MAX");
  const Shape& shape = context.inputs[0].shape;
  const auto features = static_cast<size_t>(shape[shape.rank() - 1]);
  const auto y = context.out<float>(0);
  return Dispatch(FeatureTypes{}, context.inputs[0].dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto x = context.in<T>(0);
    for (size_t row = 0; row < x.size(); row += features) {
      const double norm = Norm<T>(name, x.subspan(row, features));
      for (size_t i = row; i < row + features; ++i) {
        const auto value = static_cast<double>(x[i]);
        y[i] = static_cast<float>(norm == 0 ? value : value / norm);
      }
    }
    return OkStatus();
  });
}

}  // namespace

const OpDef kNormalizerOp = {.name = "Normalizer",
                             .min_inputs = 1,
                             .max_inputs = 1,
                             .min_outputs = 1,
                             .max_outputs = 1,
                             .attributes = kAttributes,
                             .infer = Infer,
                             .run = Run};

}  // namespace verdict
