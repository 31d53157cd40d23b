#pragma once

#include <cstring>

#include "ops/dispatch.h"
#include "ops/extents.h"
#include "ops/strided.h"
#include "ops/wrapping.h"

namespace verdict {

/// What ScatterElements and ScatterND share: input 2 (updates) has the data's type and shape
/// `expected`, and `reduction` is none, add, mul, max or min; the last four need numbers.
inline Status CheckScatter(const InferContext& context, const Shape& expected) {
  VERDICT_RETURN_IF_ERROR(RequireSameType(context, 0, 2));
  VERDICT_RETURN_IF_ERROR(RequireShape(context, 2, "updates", expected));
  const std::string_view reduction = context.attributes().String("reduction", "none");
  if (reduction == "none") return OkStatus();
  if (reduction != "add" && reduction != "mul" && reduction != "max" && reduction != "min") {
    return context.Error("reduction is '" + std::string(reduction) +
                         "'; it must be none, add, mul, max or min");
  }
  return RequireType(context, 0, NumericTypes{});
}

/// Calls visit(combine), where combine(offset, position) puts the update at `position` to the
/// output's element at `offset`, as the node's reduction says.
template <typename Visit>
Status RunWithReduction(const KernelContext& context, Visit&& visit) {
  const std::string_view reduction = context.attributes().String("reduction", "none");
  const DataType dtype = context.outputs[0].dtype;
  void* y = context.outputs[0].data;
  const void* updates = context.inputs[2].data;
  if (reduction == "none") {
    const size_t size = ElementSize(dtype);
    return visit([=](int64_t offset, int64_t position) {
      std::memcpy(ElementAt(y, offset, size), ElementAt(updates, position, size), size);
    });
  }
  return Dispatch(NumericTypes{}, dtype, [&]<typename T>(T) {
    const auto with = [&](auto function) {
      return visit([=](int64_t offset, int64_t position) {
        T& element = static_cast<T*>(y)[offset];
        element = function(element, static_cast<const T*>(updates)[position]);
      });
    };
    if (reduction == "add") return with([](T a, T b) { return WrapAdd(a, b); });
    if (reduction == "mul") return with([](T a, T b) { return WrapMul(a, b); });
    if (reduction == "max") return with([](T a, T b) { return MaxOf(a, b); });
    return with([](T a, T b) { return MinOf(a, b); });
  });
}

}  // namespace verdict
