#include "ops/broadcast.h"

#include <algorithm>
#include <string>

#include "base/checked_math.h"

namespace verdict {

bool BroadcastDims(const InferContext& context, Dim a, Dim b, Dim* result) {
  if (a == b || b == 1) {
    *result = a;
  } else if (a == 1) {
    *result = b;
  } else if (IsSymbol(a) && IsSymbol(b)) {
    *result = context.UnknownDim();
  } else if (IsSymbol(a) || IsSymbol(b)) {
    *result = IsSymbol(a) ? b : a;
  } else {
    return false;
  }
  return true;
}

bool BroadcastShapes(const InferContext& context, const Shape& other, Shape* result) {
  const Shape mine = *result;
  const int rank = std::max(mine.rank(), other.rank());
  Shape shape;
  for (int axis = 0; axis < rank; ++axis) {
    const int a = axis - (rank - mine.rank());
    const int b = axis - (rank - other.rank());
    Dim dim = 0;
    if (!BroadcastDims(context, a < 0 ? 1 : mine[a], b < 0 ? 1 : other[b], &dim)) return false;
    shape.push_back(dim);
  }
  *result = shape;
  return true;
}

Status BroadcastInputs(const InferContext& context, Shape* result) {
  *result = context.inputs[0].shape;
  for (size_t i = 1; i < context.inputs.size(); ++i) {
    if (!BroadcastShapes(context, context.inputs[i].shape, result)) {
      return context.Error("input " + std::to_string(i) + " has shape " +
                           ToString(context.inputs[i].shape) + ", which does not broadcast with " +
                           ToString(*result));
    }
  }
  return OkStatus();
}

Result<Dim> DimProduct(const InferContext& context, std::span<const Dim> dims) {
  if (std::ranges::find(dims, 0) != dims.end()) return Dim{0};
  Dim known = 1;
  Dim symbol = 0;
  int symbols = 0;
  for (Dim dim : dims) {
    if (IsSymbol(dim)) {
      symbol = dim;
      ++symbols;
    } else if (!CheckedMul(known, dim, &known)) {
      return context.Error("a product of extents overflows 64 bits");
    }
  }
  if (symbols == 0) return known;
  return symbols == 1 && known == 1 ? symbol : context.UnknownDim();
}

}  // namespace verdict
