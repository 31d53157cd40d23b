#include "base/checked_math.h"
#include "ops/axes.h"
#include "ops/dispatch.h"
#include "ops/extents.h"
#include "ops/list.h"
#include "ops/strided.h"

namespace verdict {
namespace {

/// Adds an extent to a sum of extents: what is not known stays unknown, but 0 changes nothing.
Status Add(const InferContext& context, Dim dim, Dim* sum) {
  if (dim == 0) return OkStatus();
  if (*sum == 0) {
    *sum = dim;
  } else if (IsSymbol(dim) || IsSymbol(*sum)) {
    *sum = context.UnknownDim();
  } else if (!CheckedAdd(*sum, dim, sum)) {
    return context.Error("the extent of the output overflows 64 bits");
  }
  return OkStatus();
}

Status InferConcat(InferContext& context) {
  Shape output = context.inputs[0].shape;
  VERDICT_ASSIGN_OR_RETURN(
      const int axis, NormalizeAxis(context, context.attributes().Int("axis", 0), output.rank()));
  for (size_t i = 1; i < context.inputs.size(); ++i) {
    VERDICT_RETURN_IF_ERROR(RequireSameType(context, 0, i));
    const Shape& shape = context.inputs[i].shape;
    bool fits = shape.rank() == output.rank();
    for (int k = 0; fits && k < output.rank(); ++k) {
      if (k == axis) continue;
      fits = MayEqual(output[k], shape[k]);
      output[k] = MoreKnown(output[k], shape[k]);
    }
    if (!fits) {
      return context.Error("input " + std::to_string(i) + " has shape " +
                           ShapeText(context, shape) + ", which cannot be joined with " +
                           ShapeText(context, context.inputs[0].shape) + " along axis " +
                           std::to_string(axis));
    }
  }
  output[axis] = 0;
  for (const TensorView& input : context.inputs) {
    VERDICT_RETURN_IF_ERROR(Add(context, input.shape[axis], &output[axis]));
  }
  context.SetOutput(0, context.inputs[0].dtype, output);
  return OkStatus();
}

Status RunConcat(KernelContext& context) {
  const TensorView& y = context.outputs[0];
  const size_t element_size = ElementSize(y.dtype);
  VERDICT_ASSIGN_OR_RETURN(
      const int axis, NormalizeAxis(context, context.attributes().Int("axis", 0), y.shape.rank()));
  const int64_t row = SplitAt(y.shape, axis).extent * SplitAt(y.shape, axis).inner;
  int64_t start = 0;
  for (const TensorView& x : context.inputs) {
    const AxisSplit part = SplitAt(x.shape, axis);
    const int64_t count = part.extent * part.inner;
    for (int64_t i = 0; i < part.outer; ++i) {
      CopyElements(ElementAt(y.data, i * row + start, element_size),
                   ElementAt(x.data, i * count, element_size), count, element_size);
    }
    start += count;
  }
  return OkStatus();
}

/// Extent of part `index` of `parts`: equal ones, the last takes what is left.
Status EqualPart(const InferContext& context, Dim extent, int64_t parts, int64_t index, Dim* part) {
  if (IsSymbol(extent)) {
    *part = parts == 1 ? extent : context.UnknownDim();
    return OkStatus();
  }
  const int64_t size = extent / parts + (extent % parts != 0 ? 1 : 0);
  *part = index + 1 < parts ? size : extent - size * (parts - 1);
  if (*part >= 0) return OkStatus();
  return context.Error("an extent of " + std::to_string(extent) + " cannot be split into " +
                       std::to_string(parts) + " parts");
}

Status InferSplit(InferContext& context) {
  const TensorView& x = context.inputs[0];
  VERDICT_ASSIGN_OR_RETURN(
      const int axis, NormalizeAxis(context, context.attributes().Int("axis", 0), x.shape.rank()));
  const auto parts = static_cast<int64_t>(context.outputs.size());
  const int64_t num_outputs = context.attributes().Int("num_outputs", parts);
  if (num_outputs != parts) {
    return context.Error("num_outputs is " + std::to_string(num_outputs) + ", but the node has " +
                         std::to_string(parts) + " outputs");
  }
  const bool given = context.has_input(1);
  if (given) {
    VERDICT_RETURN_IF_ERROR(RequireIntList(context, 1));
    const Dim length = Length(context.inputs[1]);
    if (!IsSymbol(length) && length != parts) {
      return context.Error("split has " + std::to_string(length) + " parts, but the node has " +
                           std::to_string(parts) + " outputs");
    }
  }
  const bool known = given && context.inputs[1].data != nullptr;
  int64_t sum = 0;
  for (int64_t i = 0; i < parts; ++i) {
    Shape output = x.shape;
    if (known) {
      output[axis] = IntElement(context.inputs[1], i);
      if (output[axis] < 0 || !CheckedAdd(sum, output[axis], &sum)) {
        return context.Error("part " + std::to_string(i) + " of split is " +
                             std::to_string(output[axis]));
      }
    } else if (given) {
      output[axis] = context.UnknownDim();
    } else {
      VERDICT_RETURN_IF_ERROR(EqualPart(context, x.shape[axis], parts, i, &output[axis]));
    }
    context.SetOutput(static_cast<size_t>(i), x.dtype, output);
  }
  if (known && !IsSymbol(x.shape[axis]) && sum != x.shape[axis]) {
    return context.Error("the parts of split add up to " + std::to_string(sum) + ", but axis " +
                         std::to_string(axis) + " has extent " + std::to_string(x.shape[axis]));
  }
  return OkStatus();
}

Status RunSplit(KernelContext& context) {
  const TensorView& x = context.inputs[0];
  const size_t element_size = ElementSize(x.dtype);
  VERDICT_ASSIGN_OR_RETURN(
      const int axis, NormalizeAxis(context, context.attributes().Int("axis", 0), x.shape.rank()));
  const AxisSplit whole = SplitAt(x.shape, axis);
  int64_t start = 0;
  for (const TensorView& y : context.outputs) {
    const int64_t count = y.shape[axis] * whole.inner;
    for (int64_t i = 0; y.data != nullptr && i < whole.outer; ++i) {
      CopyElements(ElementAt(y.data, i * count, element_size),
                   ElementAt(static_cast<const void*>(x.data),
                             i * whole.extent * whole.inner + start, element_size),
                   count, element_size);
    }
    start += count;
  }
  return OkStatus();
}

constexpr AttributeSpec kConcatAttributes[] = {{"axis", AttributeType::kInt, true}};
constexpr AttributeSpec kSplitAttributes[] = {{"axis", AttributeType::kInt},
                                              {"num_outputs", AttributeType::kInt}};

}  // namespace

const OpDef kConcatOp = {.name = "Concat",
                         .min_inputs = 1,
                         .max_inputs = kVariadic,
                         .min_outputs = 1,
                         .max_outputs = 1,
                         .attributes = kConcatAttributes,
                         .infer = InferConcat,
                         .run = RunConcat};

const OpDef kSplitOp = {.name = "Split",
                        .min_inputs = 1,
                        .max_inputs = 2,
                        .min_outputs = 1,
                        .max_outputs = kVariadic,
                        .attributes = kSplitAttributes,
                        .infer = InferSplit,
                        .run = RunSplit};

}  // namespace verdict
