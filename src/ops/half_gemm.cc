#include "ops/dispatch.h"
#include "ops/half.h"
#include "ops/linear.h"
#include "ops/list.h"

namespace verdict {
namespace {

using HalfTypes = Types<BFloat16, Float16>;

constexpr AttributeSpec kAttributes[] = {{"activation", AttributeType::kString},
                                         {"alpha", AttributeType::kFloat}};

Status Infer(InferContext& context) {
  VERDICT_RETURN_IF_ERROR(RequireType(context, 0, Types<float>{}));
  VERDICT_RETURN_IF_ERROR(RequireType(context, 1, HalfTypes{}));
  if (context.has_input(2)) {
    VERDICT_RETURN_IF_ERROR(RequireType(context, 2, Types<float>{}));
  }
  return InferLinear(context, 2, DataType::kFloat32);
}

template <typename Half>
void RunTyped(KernelContext& context) {
  const int64_t k = context.inputs[1].shape[0], n = context.inputs[1].shape[1];
  const auto y = context.out<float>(0);
  if (y.empty()) return;
  const auto a = context.in<float>(0);
  const auto b = context.in<Half>(1);
  const int64_t m = static_cast<int64_t>(y.size()) / n;
  const std::span<double> sums = context.Scratch<double>(static_cast<size_t>(n));
  for (int64_t row = 0; row < m; ++row) {
    for (int64_t j = 0; j < n; ++j) {
      const auto at = static_cast<size_t>(j);
      sums[at] = context.has_input(2) ? static_cast<double>(context.in<float>(2)[at]) : 0.0;
    }
    for (int64_t p = 0; p < k; ++p) {
      const auto factor =
          static_cast<double>(Half::Of(a[static_cast<size_t>(row * k + p)]).ToFloat());
      for (int64_t j = 0; j < n; ++j) {
        sums[static_cast<size_t>(j)] +=
            factor * static_cast<double>(b[static_cast<size_t>(p * n + j)].ToFloat());
      }
    }
    for (int64_t j = 0; j < n; ++j) {
      y[static_cast<size_t>(row * n + j)] = static_cast<float>(sums[static_cast<size_t>(j)]);
    }
  }
  Apply(ActivationOf(context.attributes()), y);
}

Status Run(KernelContext& context) {
  return Dispatch(HalfTypes{}, context.inputs[1].dtype, [&](auto zero) {
    RunTyped<decltype(zero)>(context);
    return OkStatus();
  });
}

/// A row's sums.
size_t ScratchBytes(const Node&, std::span<const TensorView> inputs, std::span<const TensorView>) {
  return static_cast<size_t>(inputs[1].shape[1]) * sizeof(double);
}

}  // namespace

const OpDef kHalfGemmOp = {.name = "HalfGemm",
                           .min_inputs = 2,
                           .max_inputs = 3,
                           .min_outputs = 1,
                           .max_outputs = 1,
                           .attributes = kAttributes,
                           .infer = Infer,
                           .run = Run,
                           .scratch_bytes = ScratchBytes};

}  // namespace verdict
