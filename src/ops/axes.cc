#include "ops/axes.h"

#include "ops/dispatch.h"

namespace verdict {

Status RequireInts(const InferContext& context, size_t input) {
  return RequireType(context, input, IndexTypes{});
}

Status RequireIntList(const InferContext& context, size_t input) {
  VERDICT_RETURN_IF_ERROR(RequireInts(context, input));
  const Shape& shape = context.inputs[input].shape;
  if (shape.rank() == 1) return OkStatus();
  return context.Error("input " + std::to_string(input) + " must be a list, but has shape " +
                       ToString(shape));
}

std::string AxisMessage(int64_t axis, int rank) {
  return "axis " + std::to_string(axis) + " is out of range for rank " + std::to_string(rank);
}

AxisSplit SplitAt(const Shape& shape, int axis) {
  AxisSplit split;
  for (int i = 0; i < axis; ++i) split.outer *= shape[i];
  split.extent = shape[axis];
  for (int i = axis + 1; i < shape.rank(); ++i) split.inner *= shape[i];
  return split;
}

}  // namespace verdict
