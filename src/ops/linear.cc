#include "ops/linear.h"

#include "ops/extents.h"

namespace verdict {

Status InferLinear(InferContext& context, size_t bias, DataType output) {
  VERDICT_RETURN_IF_ERROR(RequireRank(context, 0, "A", 2));
  VERDICT_RETURN_IF_ERROR(RequireRank(context, 1, "B", 2, 2));
  Shape shape = context.inputs[0].shape;
  Dim& last = shape[shape.rank() - 1];
  const Dim columns = context.inputs[1].shape[1];
  VERDICT_RETURN_IF_ERROR(RequireShape(context, 1, "B", {last, columns}));
  if (context.has_input(bias)) {
    VERDICT_RETURN_IF_ERROR(RequireShape(context, bias, "bias", {columns}));
  }
  const std::string_view activation = context.attributes().String("activation", "");
  if (!ActivationFromName(activation).has_value()) {
    return context.Error("unknown activation '" + std::string(activation) + "'");
  }
  last = columns;
  context.SetOutput(0, output, shape);
  return OkStatus();
}

Activation ActivationOf(const AttributeReader& attributes) {
  Activation activation = *ActivationFromName(attributes.String("activation", ""));
  activation.alpha = attributes.Float("alpha", activation.alpha);
  return activation;
}

int64_t LeadingRows(const Shape& a) {
  int64_t rows = 1;
  for (int axis = 0; axis + 1 < a.rank(); ++axis) rows *= a[axis];
  return rows;
}

}  // namespace verdict
