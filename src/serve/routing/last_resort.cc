#include "serve/routing/last_resort.h"

namespace verdict {
namespace {

/// The first extent of the first input that leaves it open.
int64_t RowsOf(const Route::Signature& signature, const InferRequest& request) {
  for (size_t i = 0; i < signature.inputs.size(); ++i) {
    const Shape& shape = signature.inputs[i].shape;
    if (shape.rank() > 0 && shape[0] < 0) return request.inputs[i].shape[0];
  }
  return 1;
}

}  // namespace

LastResort::LastResort(const Route::Signature& signature, const InferRequest& request) {
  const int64_t rows = RowsOf(signature, request);
  for (size_t i = 0; i < signature.outputs.size(); ++i) {
    Shape shape = signature.outputs[i].shape;
    for (int axis = 0; axis < shape.rank(); ++axis) {
      if (shape[axis] < 0) shape[axis] = axis == 0 ? rows : 1;
    }
    // The request's rows are in its body: the count is no larger than what has been read.
    const auto count = static_cast<size_t>(NumElements(shape).value());
    std::vector<float>& values = values_.emplace_back(count, signature.constants[i]);
    views_.push_back({DataType::kFloat32, shape, values.data()});
  }
}

}  // namespace verdict
