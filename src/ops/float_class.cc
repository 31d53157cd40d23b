#include <cmath>

#include "ops/elementwise.h"
#include "ops/list.h"

namespace verdict {
namespace {

Status Infer(InferContext& context) {
  VERDICT_RETURN_IF_ERROR(RequireType(context, 0, FloatTypes{}));
  context.SetOutput(0, DataType::kBool, context.inputs[0].shape);
  return OkStatus();
}

template <typename F>
Status Run(KernelContext& context) {
  return Dispatch(FloatTypes{}, context.inputs[0].dtype, [&]<typename T>(T) {
    const F function = MakeFunction<F>(context);
    const auto x = context.in<T>(0);
    const auto y = context.out<bool>(0);
    for (size_t i = 0; i < x.size(); ++i) y[i] = function(x[i]);
    return OkStatus();
  });
}

template <typename F>
constexpr OpDef ClassOp(std::string_view name, F, std::span<const AttributeSpec> attributes = {}) {
  return {.name = name,
          .min_inputs = 1,
          .max_inputs = 1,
          .min_outputs = 1,
          .max_outputs = 1,
          .attributes = attributes,
          .infer = Infer,
          .run = Run<F>};
}

struct IsInf {
  bool negative = true;
  bool positive = true;
  IsInf() = default;
  explicit IsInf(const AttributeReader& a)
      : negative(a.Int("detect_negative", 1) != 0), positive(a.Int("detect_positive", 1) != 0) {}
  template <typename T>
  bool operator()(T x) const {
    return std::isinf(x) && (x < 0 ? negative : positive);
  }
};

constexpr AttributeSpec kIsInfAttributes[] = {{"detect_negative", AttributeType::kInt},
                                              {"detect_positive", AttributeType::kInt}};

}  // namespace

const OpDef kIsNaNOp = ClassOp("IsNaN", [](auto x) { return std::isnan(x); });
const OpDef kIsInfOp = ClassOp("IsInf", IsInf{}, kIsInfAttributes);

}  // namespace verdict
