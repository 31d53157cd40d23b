#include "ops/dispatch.h"
#include "ops/gemm_loops.h"
#include "ops/linear.h"
#include "ops/list.h"

namespace verdict {
namespace {

constexpr AttributeSpec kAttributes[] = {{"activation", AttributeType::kString},
                                         {"alpha", AttributeType::kFloat}};

Status Infer(InferContext& context) {
  VERDICT_RETURN_IF_ERROR(RequireType(context, 0, FloatTypes{}));
  VERDICT_RETURN_IF_ERROR(RequireSameType(context, 0, 1));
  if (context.has_input(2)) {
    VERDICT_RETURN_IF_ERROR(RequireSameType(context, 0, 2));
  }
  return InferLinear(context, 2, context.inputs[0].dtype);
}

template <typename T>
void RunTyped(KernelContext& context) {
  const int64_t k = context.inputs[1].shape[0];
  const int64_t n = context.inputs[1].shape[1];
  const std::span<T> y = context.out<T>(0);
  if (y.empty()) return;
  const int64_t m = static_cast<int64_t>(y.size()) / n;
  std::fill(y.begin(), y.end(), T(0));
  AddProduct(context.in<T>(0).data(), k, 1, context.in<T>(1).data(), n, y.data(), n, m, k, n);
  if (context.has_input(2)) {
    const auto bias = context.in<T>(2);
    for (size_t i = 0; i < y.size(); i += bias.size()) {
      for (size_t j = 0; j < bias.size(); ++j) y[i + j] += bias[j];
    }
  }
  Apply(ActivationOf(context.attributes()), y);
}

Status Run(KernelContext& context) {
  return Dispatch(FloatTypes{}, context.outputs[0].dtype, [&](auto zero) {
    RunTyped<decltype(zero)>(context);
    return OkStatus();
  });
}

}  // namespace

const OpDef kFusedGemmOp = {.name = "FusedGemm",
                            .min_inputs = 2,
                            .max_inputs = 3,
                            .min_outputs = 1,
                            .max_outputs = 1,
                            .attributes = kAttributes,
                            .infer = Infer,
                            .run = Run};

}  // namespace verdict
