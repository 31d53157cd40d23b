#pragma once

#include "ops/op.h"

namespace verdict {

/// Sets *result to the extent that a and b broadcast to; false if they do not. A symbol beside 1
/// stays, beside another extent it is that extent, and two different symbols give an unknown one.
bool BroadcastDims(const InferContext& context, Dim a, Dim b, Dim* result);

/// Sets *result to what it and `other` broadcast to, aligned at the last axis; false if they do
/// not.
bool BroadcastShapes(const InferContext& context, const Shape& other, Shape* result);

/// Sets *result to the shape all inputs broadcast to. Errors: kInvalidArgument naming the input.
Status BroadcastInputs(const InferContext& context, Shape* result);

/// Product of extents, where it can be told: a symbol times ones stays. Errors: kInvalidArgument if
/// it overflows.
Result<Dim> DimProduct(const InferContext& context, std::span<const Dim> dims);

}  // namespace verdict
