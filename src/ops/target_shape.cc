#include "ops/target_shape.h"

#include <string>

#include "ops/axes.h"

namespace verdict {

Status TargetRank(const InferContext& context, size_t input, int* rank) {
  VERDICT_RETURN_IF_ERROR(RequireIntList(context, input));
  const Dim length = Length(context.inputs[input]);
  if (IsSymbol(length)) {
    return Unimplemented(Graph::Describe(context.node) +
                         ": the rank of the output depends on the data");
  }
  if (length > Shape::kMaxRank) {
    return context.Error("the target shape has " + std::to_string(length) + " axes; at most " +
                         std::to_string(Shape::kMaxRank) + " are supported");
  }
  *rank = static_cast<int>(length);
  return OkStatus();
}

Status TargetDim(const InferContext& context, size_t input, int index, Dim* dim) {
  const TensorView& target = context.inputs[input];
  if (target.data == nullptr) {
    *dim = context.UnknownDim();
    return OkStatus();
  }
  const int64_t element = IntElement(target, index);
  if (element >= 0) {
    *dim = element;
  } else if (element == -1) {
    *dim = kTargetRest;
  } else if (context.graph != nullptr && -(element + 1) <= context.graph->num_symbols()) {
    *dim = element + 1;
  } else {
    return context.Error("element " + std::to_string(index) + " of the target shape is " +
                         std::to_string(element));
  }
  return OkStatus();
}

}  // namespace verdict
