#include "ops/dispatch.h"
#include "ops/extents.h"
#include "ops/list.h"
#include "ops/strided.h"

namespace verdict {
namespace {

Status Infer(InferContext& context) {
  const TensorView& x = context.inputs[0];
  VERDICT_RETURN_IF_ERROR(RequireRank(context, 0, "input", 2));
  VERDICT_RETURN_IF_ERROR(RequireType(context, 1, Types<int64_t>{}));
  const int64_t batch_axis = context.attributes().Int("batch_axis", 1);
  const int64_t time_axis = context.attributes().Int("time_axis", 0);
  if (!(batch_axis == 0 && time_axis == 1) && !(batch_axis == 1 && time_axis == 0)) {
    return context.Error("batch_axis and time_axis must be 0 and 1 or 1 and 0, but are " +
                         std::to_string(batch_axis) + " and " + std::to_string(time_axis));
  }
  VERDICT_RETURN_IF_ERROR(
      RequireShape(context, 1, "sequence_lens", Shape{x.shape[static_cast<int>(batch_axis)]}));
  context.SetOutput(0, x.dtype, x.shape);
  return OkStatus();
}

Status Run(KernelContext& context) {
  const TensorView& x = context.inputs[0];
  const TensorView& y = context.outputs[0];
  const bool batch_first = context.attributes().Int("batch_axis", 1) == 0;
  const auto lengths = context.in<int64_t>(1);
  const int64_t batch = x.shape[batch_first ? 0 : 1];
  const int64_t time = x.shape[batch_first ? 1 : 0];
  int64_t row = 1;
  for (int axis = 2; axis < x.shape.rank(); ++axis) row *= x.shape[axis];
  const size_t size = ElementSize(x.dtype);
  const auto offset = [&](int64_t b, int64_t t) {
    return (batch_first ? b * time + t : t * batch + b) * row;
  };
  for (int64_t b = 0; b < batch; ++b) {
    const int64_t length = lengths[static_cast<size_t>(b)];
    if (length < 0 || length > time) {
      return context.Error("sequence " + std::to_string(b) + " has length " +
                           std::to_string(length) + ", but the time axis has extent " +
                           std::to_string(time));
    }
    for (int64_t t = 0; t < time; ++t) {
      CopyElements(ElementAt(y.data, offset(b, t), size),
                   ElementAt(static_cast<const void*>(x.data),
                             offset(b, t < length ? length - 1 - t : t), size),
                   row, size);
    }
  }
  return OkStatus();
}

constexpr AttributeSpec kAttributes[] = {{"batch_axis", AttributeType::kInt},
                                         {"time_axis", AttributeType::kInt}};

}  // namespace

const OpDef kReverseSequenceOp = {.name = "ReverseSequence",
                                  .min_inputs = 2,
                                  .max_inputs = 2,
                                  .min_outputs = 1,
                                  .max_outputs = 1,
                                  .attributes = kAttributes,
                                  .infer = Infer,
                                  .run = Run};

}  // namespace verdict
