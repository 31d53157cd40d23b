#include "ops/extents.h"

namespace verdict {

std::string ShapeText(const InferContext& context, const Shape& shape) {
  return context.graph != nullptr ? context.graph->ShapeText(shape) : ToString(shape);
}

std::string InputText(const InferContext& context, size_t input, std::string_view name) {
  return "input " + std::to_string(input) + " (" + std::string(name) + ") has shape " +
         ShapeText(context, context.inputs[input].shape);
}

Status RequireRank(const InferContext& context, size_t input, std::string_view name, int min_rank,
                   int max_rank) {
  const int rank = context.inputs[input].shape.rank();
  if (rank >= min_rank && rank <= max_rank) return OkStatus();
  std::string needed = std::to_string(min_rank);
  if (max_rank == Shape::kMaxRank) {
    needed += " or more";
  } else if (max_rank != min_rank) {
    needed += " to " + std::to_string(max_rank);
  }
  return context.Error(InputText(context, input, name) + ", needs " + needed + " dimensions");
}

Status RequireShape(const InferContext& context, size_t input, std::string_view name,
                    const Shape& expected) {
  const Shape& shape = context.inputs[input].shape;
  bool fits = shape.rank() == expected.rank();
  for (int axis = 0; fits && axis < shape.rank(); ++axis) {
    fits = MayEqual(shape[axis], expected[axis]);
  }
  if (fits) return OkStatus();
  return context.Error(InputText(context, input, name) + ", needs " + ShapeText(context, expected));
}

}  // namespace verdict
