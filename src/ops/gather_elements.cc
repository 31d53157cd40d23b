#include <cstring>

#include "ops/gather_index.h"
#include "ops/list.h"
#include "ops/scatter.h"
#include "ops/strided.h"

namespace verdict {
namespace {

// GatherElements and ScatterElements: `indices` has the data's rank, and replaces one coordinate of
// each of its own positions.

Status CheckIndices(const InferContext& context) {
  const Shape& data = context.inputs[0].shape;
  const Shape& indices = context.inputs[1].shape;
  VERDICT_RETURN_IF_ERROR(RequireInts(context, 1));
  VERDICT_ASSIGN_OR_RETURN(
      const int axis, NormalizeAxis(context, context.attributes().Int("axis", 0), data.rank()));
  bool fits = data.rank() == indices.rank();
  for (int i = 0; fits && i < data.rank(); ++i) {
    fits = i == axis || IsSymbol(data[i]) || IsSymbol(indices[i]) || indices[i] <= data[i];
  }
  if (fits) return OkStatus();
  return context.Error("the indices have shape " + ToString(indices) +
                       ", which does not fit into the data's " + ToString(data) + " along axis " +
                       std::to_string(axis));
}

/// Calls function(position, offset) for each index in order: its row-major position, and the
/// element of the data that it names.
template <typename F>
Status ForEachIndex(const KernelContext& context, F&& function) {
  const TensorView& data = context.inputs[0];
  const TensorView& indices = context.inputs[1];
  VERDICT_ASSIGN_OR_RETURN(
      const int axis,
      NormalizeAxis(context, context.attributes().Int("axis", 0), data.shape.rank()));
  Strides strides = DenseStrides(data.shape);
  const int64_t step = strides[static_cast<size_t>(axis)];
  const int64_t extent = data.shape[axis];
  strides[static_cast<size_t>(axis)] = 0;
  Status status;
  const StridedWalk<2> walk(indices.shape, {DenseStrides(indices.shape), strides});
  walk.ForEach([&](const auto& offsets) {
    int64_t index = IntElement(indices, offsets[0]);
    if (!NormalizeIndex(extent, &index)) {
      if (status.ok()) {
        status = IndexError(context, IntElement(indices, offsets[0]), axis, extent);
      }
      return;
    }
    function(offsets[0], offsets[1] + index * step);
  });
  return status;
}

Status InferGather(InferContext& context) {
  VERDICT_RETURN_IF_ERROR(CheckIndices(context));
  context.SetOutput(0, context.inputs[0].dtype, context.inputs[1].shape);
  return OkStatus();
}

Status RunGather(KernelContext& context) {
  const TensorView& x = context.inputs[0];
  const size_t size = ElementSize(x.dtype);
  return ForEachIndex(context, [&](int64_t position, int64_t offset) {
    std::memcpy(ElementAt(context.outputs[0].data, position, size),
                ElementAt(static_cast<const void*>(x.data), offset, size), size);
  });
}

Status InferScatter(InferContext& context) {
  VERDICT_RETURN_IF_ERROR(CheckIndices(context));
  VERDICT_RETURN_IF_ERROR(CheckScatter(context, context.inputs[1].shape));
  context.SetOutput(0, context.inputs[0].dtype, context.inputs[0].shape);
  return OkStatus();
}

Status RunScatter(KernelContext& context) {
  const TensorView& x = context.inputs[0];
  const TensorView& y = context.outputs[0];
  CopyElements(y.data, x.data, x.size(), ElementSize(x.dtype));
  return RunWithReduction(context, [&](auto combine) {
    return ForEachIndex(context,
                        [&](int64_t position, int64_t offset) { combine(offset, position); });
  });
}

constexpr AttributeSpec kGatherAttributes[] = {{"axis", AttributeType::kInt}};
constexpr AttributeSpec kScatterAttributes[] = {{"axis", AttributeType::kInt},
                                                {"reduction", AttributeType::kString}};

}  // namespace

const OpDef kGatherElementsOp = {.name = "GatherElements",
                                 .min_inputs = 2,
                                 .max_inputs = 2,
                                 .min_outputs = 1,
                                 .max_outputs = 1,
                                 .attributes = kGatherAttributes,
                                 .infer = InferGather,
                                 .run = RunGather};

const OpDef kScatterElementsOp = {.name = "ScatterElements",
                                  .min_inputs = 3,
                                  .max_inputs = 3,
                                  .min_outputs = 1,
                                  .max_outputs = 1,
                                  .attributes = kScatterAttributes,
                                  .infer = InferScatter,
                                  .run = RunScatter};

}  // namespace verdict
