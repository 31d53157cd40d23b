#pragma once

#include "ops/activation_functions.h"
#include "ops/op.h"

// What FusedGemm, QuantizedGemm and HalfGemm share: A [..., K] times B [K, N], a bias [N] where it
// is given, and an activation.

namespace verdict {

/// Ranks and shapes, the activation's name, and output 0 of that type; types are the caller's.
Status InferLinear(InferContext& context, size_t bias, DataType output);

/// The activation that the attributes name, with their alpha. The shape rule has passed.
Activation ActivationOf(const AttributeReader& attributes);

/// Rows of A: the product of all extents but the last.
int64_t LeadingRows(const Shape& a);

}  // namespace verdict
