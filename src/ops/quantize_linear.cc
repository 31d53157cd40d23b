#include "ops/axes.h"
#include "ops/dispatch.h"
#include "ops/extents.h"
#include "ops/list.h"
#include "ops/quantize.h"

namespace verdict {
namespace {

constexpr AttributeSpec kAttributes[] = {{"axis", AttributeType::kInt}};

using QuantizedTypes = Types<int8_t, uint8_t>;
using DequantizedTypes = Types<int8_t, uint8_t, int32_t>;

/// Scale is one for all (rank 0 or [1]) or one a slice along `axis`; the zero point has its shape.
Status CheckScale(const InferContext& context) {
  VERDICT_RETURN_IF_ERROR(RequireType(context, 1, Types<float>{}));
  const Shape& x = context.inputs[0].shape;
  const Shape& scale = context.inputs[1].shape;
  if (scale.rank() != 0 && scale != Shape{1}) {
    VERDICT_ASSIGN_OR_RETURN(const int axis,
                             NormalizeAxis(context, context.attributes().Int("axis", 1), x.rank()));
    VERDICT_RETURN_IF_ERROR(RequireShape(context, 1, "scale", {x[axis]}));
  }
  if (!context.has_input(2)) return OkStatus();
  return RequireShape(context, 2, "zero_point", scale);
}

/// x as [outer, slices, inner], where each slice has its scale.
AxisSplit Slices(const KernelContext& context) {
  const Shape& x = context.inputs[0].shape;
  if (context.inputs[1].size() == 1) return {1, 1, context.inputs[0].size()};
  return SplitAt(x, NormalizeAxis(context, context.attributes().Int("axis", 1), x.rank()).value());
}

/// Calls fn(element, slice) for every element of x.
template <typename Fn>
void ForEachElement(const AxisSplit& slices, Fn&& fn) {
  size_t i = 0;
  for (int64_t outer = 0; outer < slices.outer; ++outer) {
    for (int64_t slice = 0; slice < slices.extent; ++slice) {
      for (int64_t inner = 0; inner < slices.inner; ++inner) fn(i++, static_cast<size_t>(slice));
    }
  }
}

Status InferQuantize(InferContext& context) {
  VERDICT_RETURN_IF_ERROR(RequireType(context, 0, Types<float>{}));
  DataType dtype = DataType::kUInt8;
  if (context.has_input(2)) {
    VERDICT_RETURN_IF_ERROR(RequireType(context, 2, QuantizedTypes{}));
    dtype = context.inputs[2].dtype;
  }
  VERDICT_RETURN_IF_ERROR(CheckScale(context));
  context.SetOutput(0, dtype, context.inputs[0].shape);
  return OkStatus();
}

Status RunQuantize(KernelContext& context) {
  return Dispatch(QuantizedTypes{}, context.outputs[0].dtype, [&](auto zero) {
    using Q = decltype(zero);
    const auto x = context.in<float>(0);
    const auto scale = context.in<float>(1);
    const auto zero_point = context.has_input(2) ? context.in<Q>(2) : std::span<const Q>();
    const auto y = context.out<Q>(0);
    ForEachElement(Slices(context), [&](size_t i, size_t slice) {
      y[i] = Quantize<Q>(x[i], scale[slice], zero_point.empty() ? Q(0) : zero_point[slice]);
    });
    return OkStatus();
  });
}

Status InferDequantize(InferContext& context) {
  VERDICT_RETURN_IF_ERROR(RequireType(context, 0, DequantizedTypes{}));
  if (context.has_input(2)) VERDICT_RETURN_IF_ERROR(RequireSameType(context, 0, 2));
  VERDICT_RETURN_IF_ERROR(CheckScale(context));
  context.SetOutput(0, DataType::kFloat32, context.inputs[0].shape);
  return OkStatus();
}

Status RunDequantize(KernelContext& context) {
  return Dispatch(DequantizedTypes{}, context.inputs[0].dtype, [&](auto zero) {
    using Q = decltype(zero);
    const auto x = context.in<Q>(0);
    const auto scale = context.in<float>(1);
    const auto zero_point = context.has_input(2) ? context.in<Q>(2) : std::span<const Q>();
    const auto y = context.out<float>(0);
    ForEachElement(Slices(context), [&](size_t i, size_t slice) {
      const int64_t offset = zero_point.empty() ? 0 : zero_point[slice];
      y[i] = static_cast<float>(int64_t{x[i]} - offset) * scale[slice];
    });
    return OkStatus();
  });
}

constexpr OpDef Make(std::string_view name, Status (*infer)(InferContext&),
                     Status (*run)(KernelContext&)) {
  return {.name = name,
          .min_inputs = 2,
          .max_inputs = 3,
          .min_outputs = 1,
          .max_outputs = 1,
          .attributes = kAttributes,
          .infer = infer,
          .run = run};
}

}  // namespace

/// Per tensor and per axis, to int8 and uint8; the scale is f32.
const OpDef kQuantizeLinearOp = Make("QuantizeLinear", InferQuantize, RunQuantize);
/// Per tensor and per axis, from int8, uint8 and int32; the scale is f32.
const OpDef kDequantizeLinearOp = Make("DequantizeLinear", InferDequantize, RunDequantize);

}  // namespace verdict
