#include <algorithm>
#include <limits>
#include <optional>

#include "ops/axes.h"
#include "ops/list.h"
#include "ops/strided.h"

namespace verdict {
namespace {

enum Input : size_t { kData, kStarts, kEnds, kAxes, kSteps };

/// One axis of a slice as the inputs give it.
struct Bounds {
  int64_t start;
  int64_t end;
  int64_t step;
};

/// One axis of a slice of a known extent.
struct Cut {
  int64_t start;
  int64_t step;
  int64_t count;
};

/// ONNX's clamping: negative bounds count from the end, and bounds out of range mean the border.
Cut Clamp(Bounds bounds, int64_t extent) {
  // A longer step than this takes one element just the same, and keeps the sums below in range.
  const int64_t step = std::clamp(bounds.step, -extent - 1, extent + 1);
  int64_t start = bounds.start < 0 ? bounds.start + extent : bounds.start;
  int64_t end = bounds.end < 0 ? bounds.end + extent : bounds.end;
  if (step > 0) {
    start = std::clamp<int64_t>(start, 0, extent);
    end = std::clamp<int64_t>(end, 0, extent);
    return {start, step, std::max<int64_t>(0, (end - start + step - 1) / step)};
  }
  start = std::clamp<int64_t>(start, 0, std::max<int64_t>(extent - 1, 0));
  end = std::clamp<int64_t>(end, -1, extent - 1);
  if (extent == 0) return {0, step, 0};
  return {start, step, std::max<int64_t>(0, (start - end - step - 1) / -step)};
}

/// Whether the slice keeps an axis as it is, or reversed, whatever its extent.
bool TakesAll(const Bounds& bounds) {
  constexpr int64_t kFar = std::numeric_limits<int32_t>::max();
  if (bounds.step == 1) return bounds.start == 0 && bounds.end >= kFar;
  return bounds.step == -1 && bounds.start == -1 && bounds.end <= -kFar;
}

/// The bounds of entry `index` of the lists; nothing if they are not known.
template <typename Context>
std::optional<Bounds> BoundsAt(const Context& context, int64_t index) {
  const auto known = [&](size_t i) { return context.inputs[i].data != nullptr; };
  const bool has_steps = context.has_input(kSteps);
  if (!known(kStarts) || !known(kEnds) || (has_steps && !known(kSteps))) return std::nullopt;
  return Bounds{IntElement(context.inputs[kStarts], index),
                IntElement(context.inputs[kEnds], index),
                has_steps ? IntElement(context.inputs[kSteps], index) : 1};
}

template <typename Context>
Result<int> AxisAt(const Context& context, int64_t index) {
  return NormalizeAxis(context,
                       context.has_input(kAxes) ? IntElement(context.inputs[kAxes], index) : index,
                       context.inputs[kData].shape.rank());
}

Status Infer(InferContext& context) {
  Shape output = context.inputs[kData].shape;
  for (size_t i = kStarts; i <= kSteps; ++i) {
    if (i > kEnds && !context.has_input(i)) continue;
    VERDICT_RETURN_IF_ERROR(RequireIntList(context, i));
    const Dim length = Length(context.inputs[i]);
    if (IsSymbol(length)) {
      return Unimplemented(Graph::Describe(context.node) +
                           ": how many axes are sliced depends on the data");
    }
    if (length != Length(context.inputs[kStarts]) || length > output.rank()) {
      return context.Error("input " + std::to_string(i) + " has " + std::to_string(length) +
                           " entries, but starts has " +
                           std::to_string(Length(context.inputs[kStarts])) +
                           " and the data has shape " + ToString(output));
    }
  }
  const bool axes_known = !context.has_input(kAxes) || context.inputs[kAxes].data != nullptr;
  if (!axes_known) {
    for (int axis = 0; axis < output.rank(); ++axis) output[axis] = context.UnknownDim();
  }
  AxisSet seen = 0;
  for (int64_t i = 0; axes_known && i < Length(context.inputs[kStarts]); ++i) {
    VERDICT_ASSIGN_OR_RETURN(const int axis, AxisAt(context, i));
    if (HasAxis(seen, axis)) {
      return context.Error("axis " + std::to_string(axis) + " is sliced twice");
    }
    seen |= AxisSet{1} << axis;
    const auto bounds = BoundsAt(context, i);
    if (bounds && bounds->step == 0) {
      return context.Error("the step of axis " + std::to_string(axis) + " is 0");
    }
    if (!bounds || (IsSymbol(output[axis]) && !TakesAll(*bounds))) {
      output[axis] = context.UnknownDim();
    } else if (!IsSymbol(output[axis])) {
      output[axis] = Clamp(*bounds, output[axis]).count;
    }
  }
  context.SetOutput(0, context.inputs[kData].dtype, output);
  return OkStatus();
}

Status Run(KernelContext& context) {
  const TensorView& x = context.inputs[kData];
  const TensorView& y = context.outputs[0];
  Strides steps = DenseStrides(x.shape);
  int64_t origin = 0;
  for (int64_t i = 0; i < Length(context.inputs[kStarts]); ++i) {
    VERDICT_ASSIGN_OR_RETURN(const int axis, AxisAt(context, i));
    const Cut cut = Clamp(*BoundsAt(context, i), x.shape[axis]);
    if (cut.count != y.shape[axis]) {
      return context.Error("the bounds of axis " + std::to_string(axis) +
                           " are not those the output was planned for");
    }
    int64_t& step = steps[static_cast<size_t>(axis)];
    origin += cut.start * step;
    step *= cut.step;
  }
  if (y.size() == 0) return OkStatus();
  const size_t element_size = ElementSize(x.dtype);
  CopyStrided({y.shape, {DenseStrides(y.shape), steps}}, y.data,
              ElementAt(x.data, origin, element_size), element_size);
  return OkStatus();
}

}  // namespace

const OpDef kSliceOp = {.name = "Slice",
                        .min_inputs = 3,
                        .max_inputs = 5,
                        .min_outputs = 1,
                        .max_outputs = 1,
                        .attributes = {},
                        .infer = Infer,
                        .run = Run};

}  // namespace verdict
