#pragma once

#include <cstdint>
#include <string>

#include "ops/op.h"

namespace verdict {

/// Element of an i32 or i64 tensor.
inline int64_t IntElement(const TensorView& tensor, int64_t index) {
  return tensor.dtype == DataType::kInt32 ? static_cast<const int32_t*>(tensor.data)[index]
                                          : static_cast<const int64_t*>(tensor.data)[index];
}

/// Elements of a list of at most kMaxRank integers whose length is static.
inline int64_t Length(const TensorView& list) { return list.shape[0]; }

/// Error unless the input is a list of i32 or i64.
Status RequireIntList(const InferContext& context, size_t input);

/// Error unless the input is an i32 or i64 tensor.
Status RequireInts(const InferContext& context, size_t input);

/// "axis 5 is out of range for rank 3".
std::string AxisMessage(int64_t axis, int rank);

/// `axis` counted from the front. Context: InferContext or KernelContext. Errors: kInvalidArgument
/// if it is not in [-rank, rank).
template <typename Context>
Result<int> NormalizeAxis(const Context& context, int64_t axis, int rank) {
  if (axis < -rank || axis >= rank) return context.Error(AxisMessage(axis, rank));
  return static_cast<int>(axis < 0 ? axis + rank : axis);
}

/// A set of axes, one bit each.
using AxisSet = uint32_t;
constexpr bool HasAxis(AxisSet set, int axis) { return (set >> axis & 1U) != 0; }

/// The set of a list of axes. Context, errors: as NormalizeAxis, and an axis named twice.
template <typename Context>
Result<AxisSet> NormalizeAxes(const Context& context, const TensorView& list, int rank) {
  AxisSet set = 0;
  for (int64_t i = 0; i < Length(list); ++i) {
    VERDICT_ASSIGN_OR_RETURN(const int axis, NormalizeAxis(context, IntElement(list, i), rank));
    if (HasAxis(set, axis)) {
      return context.Error("axis " + std::to_string(axis) + " is named twice");
    }
    set |= AxisSet{1} << axis;
  }
  return set;
}

/// A shape as three extents around one axis: [outer, extent, inner].
struct AxisSplit {
  int64_t outer = 1;
  int64_t extent = 1;
  int64_t inner = 1;
};
AxisSplit SplitAt(const Shape& shape, int axis);

}  // namespace verdict
