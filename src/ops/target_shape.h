#pragma once

#include "ops/op.h"

namespace verdict {

// Shapes that come as a tensor's contents: the targets of Reshape, Expand, ConstantOfShape.
// While shapes are inferred a target may be known in part: an element <= -2 then stands for the
// symbol one above it (-2 is Dim -1, -3 is Dim -2, …), because -1 has ONNX's own meaning.

/// Sets *rank to the length of the list that is input `input`. Errors: not an int64 list, its
/// length is not known, or it is longer than kMaxRank.
Status TargetRank(const InferContext& context, size_t input, int* rank);

/// What TargetDim answers for -1, outside the range of symbols.
inline constexpr Dim kTargetRest = INT64_MIN;

/// Sets *dim to what element `index` of the target says: an extent, a symbol, kTargetRest, or an
/// unknown extent where the contents are not known. Errors: another negative number.
Status TargetDim(const InferContext& context, size_t input, int index, Dim* dim);

}  // namespace verdict
