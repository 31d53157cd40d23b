#include "ops/dispatch.h"

namespace verdict {

Status UnsupportedType(const InferContext& context, size_t input) {
  const DataType dtype = context.inputs[input].dtype;
  if (dtype == DataType::kUndefined) {
    return context.Error("input " + std::to_string(input) + " is missing");
  }
  std::string message = Graph::Describe(context.node) + ": input " + std::to_string(input) +
                        " has type " + std::string(DataTypeName(dtype)) +
                        ", which this operator does not support";
  if (dtype == DataType::kFloat16 || dtype == DataType::kBFloat16) {
    message += "; cast it to f32 first";
  }
  return Unimplemented(std::move(message));
}

Status RequireSameType(const InferContext& context, size_t input, size_t other) {
  const DataType a = context.inputs[input].dtype;
  const DataType b = context.inputs[other].dtype;
  if (a == b) return OkStatus();
  return context.Error("input " + std::to_string(input) + " has type " +
                       std::string(DataTypeName(a)) + ", input " + std::to_string(other) +
                       " has type " + std::string(DataTypeName(b)) + "; they must be the same");
}

}  // namespace verdict
