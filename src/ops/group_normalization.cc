#include <cmath>

#include "ops/dispatch.h"
#include "ops/extents.h"
#include "ops/list.h"

namespace verdict {
namespace {

constexpr AttributeSpec kInstanceAttributes[] = {{"epsilon", AttributeType::kFloat}};

constexpr AttributeSpec kGroupAttributes[] = {{"epsilon", AttributeType::kFloat},
                                              {"num_groups", AttributeType::kInt, true},
                                              {"stash_type", AttributeType::kInt}};

Status Infer(InferContext& context) {
  VERDICT_RETURN_IF_ERROR(RequireSameTypes(context, FloatTypes{}));
  VERDICT_RETURN_IF_ERROR(RequireRank(context, 0, "X", 2));
  const TensorView& x = context.inputs[0];
  const Dim channels = x.shape[1];
  VERDICT_RETURN_IF_ERROR(RequireShape(context, 1, "scale", {channels}));
  VERDICT_RETURN_IF_ERROR(RequireShape(context, 2, "B", {channels}));
  const int64_t groups = context.attributes().Int("num_groups", 1);
  if (groups < 1 || (!IsSymbol(channels) && channels % groups != 0)) {
    return context.Error(InputText(context, 0, "X") + ", whose channels do not divide into " +
                         std::to_string(groups) + " groups");
  }
  context.SetOutput(0, x.dtype, x.shape);
  return OkStatus();
}

/// InstanceNormalization is GroupNormalization with a channel a group. Sums are in double.
template <typename T>
void RunTyped(KernelContext& context) {
  const auto x = context.in<T>(0);
  const auto scale = context.in<T>(1);
  const auto bias = context.in<T>(2);
  const auto y = context.out<T>(0);
  if (y.empty()) return;
  const auto attributes = context.attributes();
  const double epsilon = attributes.Float("epsilon", 1e-5F);
  const size_t channels = scale.size();
  const size_t pixels = x.size() / static_cast<size_t>(context.inputs[0].shape[0]) / channels;
  const auto groups =
      static_cast<size_t>(attributes.Int("num_groups", static_cast<int64_t>(channels)));
  const size_t size = channels / groups * pixels;
  for (size_t start = 0; start < x.size(); start += size) {
    const auto group = x.subspan(start, size);
    double mean = 0;
    for (T value : group) mean += value;
    mean /= static_cast<double>(size);
    double squares = 0;
    for (T value : group) squares += (value - mean) * (value - mean);
    const double inverse = 1 / std::sqrt(squares / static_cast<double>(size) + epsilon);
    for (size_t i = start; i < start + size; ++i) {
      const size_t channel = i / pixels % channels;
      y[i] = static_cast<T>((x[i] - mean) * inverse) * scale[channel] + bias[channel];
    }
  }
}

Status Run(KernelContext& context) {
  return Dispatch(FloatTypes{}, context.outputs[0].dtype, [&](auto zero) {
    RunTyped<decltype(zero)>(context);
    return OkStatus();
  });
}

}  // namespace

const OpDef kInstanceNormalizationOp = {.name = "InstanceNormalization",
                                        .min_inputs = 3,
                                        .max_inputs = 3,
                                        .min_outputs = 1,
                                        .max_outputs = 1,
                                        .attributes = kInstanceAttributes,
                                        .infer = Infer,
                                        .run = Run};

const OpDef kGroupNormalizationOp = {.name = "GroupNormalization",
                                     .min_inputs = 3,
                                     .max_inputs = 3,
                                     .min_outputs = 1,
                                     .max_outputs = 1,
                                     .attributes = kGroupAttributes,
                                     .infer = Infer,
                                     .run = Run};

}  // namespace verdict
