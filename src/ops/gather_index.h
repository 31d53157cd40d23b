#pragma once

#include <string>

#include "ops/axes.h"

namespace verdict {

/// Counts *index from the front; false if it is not in [-extent, extent).
inline bool NormalizeIndex(int64_t extent, int64_t* index) {
  if (*index < 0) *index += extent;
  return *index >= 0 && *index < extent;
}

/// kInvalidArgument naming the index and the extent it does not fit.
inline Status IndexError(const KernelContext& context, int64_t index, int axis, int64_t extent) {
  return context.Error("index " + std::to_string(index) + " is out of range for axis " +
                       std::to_string(axis) + " of extent " + std::to_string(extent));
}

}  // namespace verdict
