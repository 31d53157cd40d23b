#include <cstring>

#include "ops/cast.h"
#include "ops/dispatch.h"
#include "ops/extents.h"
#include "ops/gather_index.h"
#include "ops/list.h"
#include "ops/strided.h"

namespace verdict {
namespace {

enum Input : size_t { kIndices, kDepth, kValues };

Status Infer(InferContext& context) {
  VERDICT_RETURN_IF_ERROR(RequireType(context, kIndices, NumericTypes{}));
  VERDICT_RETURN_IF_ERROR(RequireType(context, kDepth, NumericTypes{}));
  VERDICT_RETURN_IF_ERROR(RequireShape(context, kValues, "values", Shape{2}));
  const TensorView& depth = context.inputs[kDepth];
  if (!depth.shape.IsStatic() || depth.size() != 1) {
    return context.Error(InputText(context, kDepth, "depth") + ", needs one element");
  }
  VERDICT_RETURN_IF_ERROR(RequireRank(context, kIndices, "indices", 0, Shape::kMaxRank - 1));
  const Shape& indices = context.inputs[kIndices].shape;
  VERDICT_ASSIGN_OR_RETURN(
      const int axis,
      NormalizeAxis(context, context.attributes().Int("axis", -1), indices.rank() + 1));
  Dim extent = 0;
  if (depth.data == nullptr) {
    extent = context.UnknownDim();
  } else {
    VERDICT_RETURN_IF_ERROR(Dispatch(NumericTypes{}, depth.dtype, [&]<typename T>(T) {
      extent = CastElement<int64_t>(depth.as<const T>()[0]);
      return OkStatus();
    }));
    if (extent < 1) return context.Error("depth is " + std::to_string(extent));
  }
  Shape output;
  for (int i = 0; i <= indices.rank(); ++i) {
    if (i == axis) output.push_back(extent);
    if (i < indices.rank()) output.push_back(indices[i]);
  }
  context.SetOutput(0, context.inputs[kValues].dtype, output);
  return OkStatus();
}

/// An index outside of [-depth, depth) has no hot element.
Status Run(KernelContext& context) {
  const TensorView& y = context.outputs[0];
  const TensorView& indices = context.inputs[kIndices];
  const size_t size = ElementSize(y.dtype);
  VERDICT_ASSIGN_OR_RETURN(
      const int axis, NormalizeAxis(context, context.attributes().Int("axis", -1), y.shape.rank()));
  const void* values = context.inputs[kValues].data;
  CopyStrided({y.shape, {DenseStrides(y.shape), Strides{}}}, y.data, values, size);
  const AxisSplit split = SplitAt(y.shape, axis);
  return Dispatch(NumericTypes{}, indices.dtype, [&]<typename T>(T) {
    const auto given = context.in<T>(kIndices);
    for (int64_t i = 0; i < split.outer * split.inner; ++i) {
      auto index = CastElement<int64_t>(given[static_cast<size_t>(i)]);
      if (!NormalizeIndex(split.extent, &index)) continue;
      const int64_t outer = i / split.inner;
      const int64_t inner = i % split.inner;
      std::memcpy(ElementAt(y.data, (outer * split.extent + index) * split.inner + inner, size),
                  ElementAt(values, 1, size), size);
    }
    return OkStatus();
  });
}

constexpr AttributeSpec kAttributes[] = {{"axis", AttributeType::kInt}};

}  // namespace

const OpDef kOneHotOp = {.name = "OneHot",
                         .min_inputs = 3,
                         .max_inputs = 3,
                         .min_outputs = 1,
                         .max_outputs = 1,
                         .attributes = kAttributes,
                         .infer = Infer,
                         .run = Run};

}  // namespace verdict
