#include <cmath>

#include "ops/dispatch.h"
#include "ops/extents.h"
#include "ops/list.h"

namespace verdict {
namespace {

constexpr AttributeSpec kAttributes[] = {{"epsilon", AttributeType::kFloat},
                                         {"momentum", AttributeType::kFloat},
                                         {"training_mode", AttributeType::kInt}};

Status Infer(InferContext& context) {
  if (context.attributes().Int("training_mode", 0) != 0) {
    return Unimplemented(Graph::Describe(context.node) +
                         ": is in training mode; export the model for inference (model.eval())");
  }
  VERDICT_RETURN_IF_ERROR(RequireSameTypes(context, FloatTypes{}));
  VERDICT_RETURN_IF_ERROR(RequireRank(context, 0, "X", 2));
  const TensorView& x = context.inputs[0];
  constexpr std::string_view kNames[] = {"X", "scale", "B", "input_mean", "input_var"};
  for (size_t i = 1; i <= 4; ++i) {
    VERDICT_RETURN_IF_ERROR(RequireShape(context, i, kNames[i], {x.shape[1]}));
  }
  context.SetOutput(0, x.dtype, x.shape);
  return OkStatus();
}

template <typename T>
void RunTyped(KernelContext& context) {
  const auto x = context.in<T>(0);
  const auto scale = context.in<T>(1);
  const auto bias = context.in<T>(2);
  const auto mean = context.in<T>(3);
  const auto variance = context.in<T>(4);
  const auto y = context.out<T>(0);
  const T epsilon = static_cast<T>(context.attributes().Float("epsilon", 1e-5F));
  if (y.empty()) return;
  const size_t channels = scale.size();
  const size_t rows = static_cast<size_t>(context.inputs[0].shape[0]);
  const size_t pixels = x.size() / rows / channels;
  size_t i = 0;
  for (size_t row = 0; row < rows; ++row) {
    for (size_t channel = 0; channel < channels; ++channel) {
      const T factor = scale[channel] / std::sqrt(variance[channel] + epsilon);
      for (size_t pixel = 0; pixel < pixels; ++pixel, ++i) {
        y[i] = (x[i] - mean[channel]) * factor + bias[channel];
      }
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

/// Inference only; the importer drops the outputs of training.
const OpDef kBatchNormalizationOp = {.name = "BatchNormalization",
                                     .min_inputs = 5,
                                     .max_inputs = 5,
                                     .min_outputs = 1,
                                     .max_outputs = 1,
                                     .attributes = kAttributes,
                                     .infer = Infer,
                                     .run = Run};

}  // namespace verdict
