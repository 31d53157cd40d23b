#include <cmath>

#include "ops/dispatch.h"
#include "ops/list.h"
#include "ops/wrapping.h"

namespace verdict {
namespace {

using RangeTypes = Types<float, double, int16_t, int32_t, int64_t>;

/// How many elements there are from start up to (down to) limit; -1: too many, or none can be told.
template <typename T>
int64_t Count(T start, T limit, T delta) {
  constexpr int64_t kMost = int64_t{1} << 53;
  if constexpr (std::is_floating_point_v<T>) {
    const double count = std::ceil((static_cast<double>(limit) - static_cast<double>(start)) /
                                   static_cast<double>(delta));
    if (!(count < static_cast<double>(kMost))) return -1;
    return count > 0 ? static_cast<int64_t>(count) : 0;
  } else {
    if (delta > 0 ? start >= limit : start <= limit) return 0;
    // The distance of two int64 fits uint64.
    const auto wide = [](T value) { return static_cast<uint64_t>(static_cast<int64_t>(value)); };
    const uint64_t distance = delta > 0 ? wide(limit) - wide(start) : wide(start) - wide(limit);
    const uint64_t step = delta > 0 ? wide(delta) : 0 - wide(delta);
    const uint64_t count = distance / step + (distance % step != 0 ? 1 : 0);
    return count < static_cast<uint64_t>(kMost) ? static_cast<int64_t>(count) : -1;
  }
}

Status Infer(InferContext& context) {
  VERDICT_RETURN_IF_ERROR(RequireSameTypes(context, RangeTypes{}));
  bool known = true;
  for (const TensorView& input : context.inputs) {
    if (!input.shape.IsStatic() || input.size() != 1) {
      return context.Error("start, limit and delta must be scalars, but one has shape " +
                           ToString(input.shape));
    }
    known = known && input.data != nullptr;
  }
  if (!known) {
    context.SetOutput(0, context.inputs[0].dtype, Shape{context.UnknownDim()});
    return OkStatus();
  }
  return Dispatch(RangeTypes{}, context.inputs[0].dtype, [&]<typename T>(T) {
    const auto scalar = [&](size_t i) { return context.inputs[i].as<const T>()[0]; };
    if (scalar(2) == 0) return context.Error("delta is 0");
    const int64_t count = Count(scalar(0), scalar(1), scalar(2));
    if (count < 0) return context.Error("the range has no end or too many elements");
    context.SetOutput(0, context.inputs[0].dtype, Shape{count});
    return OkStatus();
  });
}

Status Run(KernelContext& context) {
  return Dispatch(RangeTypes{}, context.inputs[0].dtype, [&]<typename T>(T) {
    const T start = context.in<T>(0)[0];
    const T delta = context.in<T>(2)[0];
    const auto y = context.out<T>(0);
    for (size_t i = 0; i < y.size(); ++i) y[i] = WrapAdd(start, WrapMul(static_cast<T>(i), delta));
    return OkStatus();
  });
}

}  // namespace

const OpDef kRangeOp = {.name = "Range",
                        .min_inputs = 3,
                        .max_inputs = 3,
                        .min_outputs = 1,
                        .max_outputs = 1,
                        .attributes = {},
                        .infer = Infer,
                        .run = Run};

}  // namespace verdict
