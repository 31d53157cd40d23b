#pragma once

#include "ops/dispatch.h"
#include "ops/extents.h"

namespace verdict {

/// Element types of ai.onnx.ml's numeric features.
using FeatureTypes = Types<float, double, int32_t, int64_t>;

/// Error unless the input is `[F]` or `[1]`, where F is the last extent of input 0, which must
/// exist.
inline Status RequirePerFeature(const InferContext& context, size_t input, std::string_view name) {
  VERDICT_RETURN_IF_ERROR(RequireRank(context, 0, "X", 1));
  const Shape& shape = context.inputs[input].shape;
  if (shape == Shape{1}) return OkStatus();
  const Shape& x = context.inputs[0].shape;
  return RequireShape(context, input, name, {x[x.rank() - 1]});
}

}  // namespace verdict
