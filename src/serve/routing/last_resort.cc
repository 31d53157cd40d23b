#include "serve/routing/last_resort.h"

#include <string>

namespace verdict {
namespace {

/// Values of an answer. A request's rows are the client's to say, and may cost it no byte each.
constexpr int64_t kMostValues = int64_t{1} << 20;

/// The first extent of the first input that leaves it open.
int64_t RowsOf(const Route::Signature& signature, const InferRequest& request) {
  for (size_t i = 0; i < signature.inputs.size(); ++i) {
    const TensorSpec& input = signature.inputs[i];
    if (input.is_state || input.shape.rank() == 0 || input.shape[0] >= 0) continue;
    return request.inputs[i].shape[0];
  }
  return 1;
}

}  // namespace

Result<LastResort> LastResort::Make(const Route::Signature& signature,
                                    const InferRequest& request) {
  const int64_t rows = RowsOf(signature, request);
  LastResort last;
  for (size_t i = 0; i < signature.outputs.size(); ++i) {
    Shape shape = signature.outputs[i].shape;
    for (int axis = 0; axis < shape.rank(); ++axis) {
      if (shape[axis] < 0) shape[axis] = axis == 0 ? rows : 1;
    }
    const auto count = NumElements(shape);
    if (!count.ok() || *count > kMostValues) {
      return InvalidArgument("no model can answer, and the last resort answers at most " +
                             std::to_string(kMostValues) + " values: ask for fewer rows");
    }
    std::vector<float>& values =
        last.values_.emplace_back(static_cast<size_t>(*count), signature.constants[i]);
    last.views_.push_back({DataType::kFloat32, shape, values.data()});
  }
  return last;
}

}  // namespace verdict
