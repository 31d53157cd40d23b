#include <algorithm>

#include "base/checked_math.h"
#include "ops/axes.h"
#include "ops/broadcast.h"
#include "ops/dispatch.h"
#include "ops/extents.h"
#include "ops/list.h"
#include "ops/strided.h"
#include "ops/target_shape.h"

namespace verdict {
namespace {

Status InferExpand(InferContext& context) {
  const Shape& input = context.inputs[0].shape;
  int rank = 0;
  VERDICT_RETURN_IF_ERROR(TargetRank(context, 1, &rank));
  Shape target;
  for (int axis = 0; axis < rank; ++axis) {
    Dim dim = 0;
    VERDICT_RETURN_IF_ERROR(TargetDim(context, 1, axis, &dim));
    if (dim == kTargetRest) {
      return context.Error("element " + std::to_string(axis) + " of the target shape is -1");
    }
    target.push_back(dim);
  }
  Shape output = input;
  if (!BroadcastShapes(context, target, &output)) {
    return context.Error("the input has shape " + ShapeText(context, input) +
                         ", which does not broadcast with " + ShapeText(context, target));
  }
  context.SetOutput(0, context.inputs[0].dtype, output);
  return OkStatus();
}

Status RunExpand(KernelContext& context) {
  const TensorView& x = context.inputs[0];
  const TensorView& y = context.outputs[0];
  CopyStrided({y.shape, {DenseStrides(y.shape), BroadcastStrides(x.shape, y.shape)}}, y.data,
              x.data, ElementSize(x.dtype));
  return OkStatus();
}

Status InferTile(InferContext& context) {
  const Shape& input = context.inputs[0].shape;
  VERDICT_RETURN_IF_ERROR(RequireIntList(context, 1));
  const TensorView& repeats = context.inputs[1];
  if (!IsSymbol(Length(repeats)) && Length(repeats) != input.rank()) {
    return context.Error("there are " + std::to_string(Length(repeats)) +
                         " repeats, but the input has shape " + ShapeText(context, input));
  }
  Shape output = input;
  for (int axis = 0; axis < input.rank(); ++axis) {
    if (repeats.data == nullptr) {
      output[axis] = context.UnknownDim();
      continue;
    }
    const int64_t repeat = IntElement(repeats, axis);
    if (repeat < 0) {
      return context.Error("the repeat of axis " + std::to_string(axis) + " is " +
                           std::to_string(repeat));
    }
    VERDICT_ASSIGN_OR_RETURN(output[axis], DimProduct(context, std::array{input[axis], repeat}));
  }
  context.SetOutput(0, context.inputs[0].dtype, output);
  return OkStatus();
}

/// Each run of the last axis is a row of the input, found by the remainders of the coordinates.
Status RunTile(KernelContext& context) {
  const TensorView& x = context.inputs[0];
  const TensorView& y = context.outputs[0];
  if (y.size() == 0) return OkStatus();
  const size_t size = ElementSize(x.dtype);
  const int rank = x.shape.rank();
  const Strides strides = DenseStrides(x.shape);
  const int64_t row = rank > 0 ? x.shape[rank - 1] : 1;
  const int64_t rows = y.size() / row;
  for (int64_t i = 0; i < rows; ++i) {
    int64_t rest = i * row;
    int64_t offset = 0;
    for (int axis = rank - 1; axis >= 0; --axis) {
      offset += rest % y.shape[axis] % x.shape[axis] * strides[static_cast<size_t>(axis)];
      rest /= y.shape[axis];
    }
    CopyElements(ElementAt(y.data, i * row, size),
                 ElementAt(static_cast<const void*>(x.data), offset, size), row, size);
  }
  return OkStatus();
}

/// The value is a second input: attributes hold no tensors.
Status InferConstantOfShape(InferContext& context) {
  int rank = 0;
  VERDICT_RETURN_IF_ERROR(TargetRank(context, 0, &rank));
  Shape output;
  for (int axis = 0; axis < rank; ++axis) {
    Dim dim = 0;
    VERDICT_RETURN_IF_ERROR(TargetDim(context, 0, axis, &dim));
    if (dim == kTargetRest) {
      return context.Error("element " + std::to_string(axis) + " of the shape is -1");
    }
    output.push_back(dim);
  }
  DataType dtype = DataType::kFloat32;
  if (context.has_input(1)) {
    dtype = context.inputs[1].dtype;
    const auto count = NumElements(context.inputs[1].shape);
    if (!count.ok() || *count != 1) {
      return context.Error("the value must be one element, but has shape " +
                           ShapeText(context, context.inputs[1].shape));
    }
  }
  context.SetOutput(0, dtype, output);
  return OkStatus();
}

Status RunConstantOfShape(KernelContext& context) {
  const TensorView& y = context.outputs[0];
  constexpr float kZero = 0;
  const void* value = context.has_input(1) ? context.inputs[1].data : &kZero;
  CopyStrided({y.shape, {DenseStrides(y.shape), Strides{}}}, y.data, value, ElementSize(y.dtype));
  return OkStatus();
}

}  // namespace

const OpDef kExpandOp = {.name = "Expand",
                         .min_inputs = 2,
                         .max_inputs = 2,
                         .min_outputs = 1,
                         .max_outputs = 1,
                         .attributes = {},
                         .infer = InferExpand,
                         .run = RunExpand};

const OpDef kTileOp = {.name = "Tile",
                       .min_inputs = 2,
                       .max_inputs = 2,
                       .min_outputs = 1,
                       .max_outputs = 1,
                       .attributes = {},
                       .infer = InferTile,
                       .run = RunTile};

const OpDef kConstantOfShapeOp = {.name = "ConstantOfShape",
                                  .min_inputs = 1,
                                  .max_inputs = 2,
                                  .min_outputs = 1,
                                  .max_outputs = 1,
                                  .attributes = {},
                                  .infer = InferConstantOfShape,
                                  .run = RunConstantOfShape};

}  // namespace verdict
