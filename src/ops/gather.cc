#include "ops/gather_index.h"
#include "ops/list.h"
#include "ops/strided.h"

namespace verdict {
namespace {

Status Infer(InferContext& context) {
  const Shape& data = context.inputs[0].shape;
  const Shape& indices = context.inputs[1].shape;
  VERDICT_RETURN_IF_ERROR(RequireInts(context, 1));
  VERDICT_ASSIGN_OR_RETURN(
      const int axis, NormalizeAxis(context, context.attributes().Int("axis", 0), data.rank()));
  if (data.rank() - 1 + indices.rank() > Shape::kMaxRank) {
    return context.Error("the output would have more than " + std::to_string(Shape::kMaxRank) +
                         " axes");
  }
  Shape output;
  for (int i = 0; i < axis; ++i) output.push_back(data[i]);
  for (Dim dim : indices.dims()) output.push_back(dim);
  for (int i = axis + 1; i < data.rank(); ++i) output.push_back(data[i]);
  context.SetOutput(0, context.inputs[0].dtype, output);
  return OkStatus();
}

Status Run(KernelContext& context) {
  const TensorView& x = context.inputs[0];
  const TensorView& indices = context.inputs[1];
  const size_t element_size = ElementSize(x.dtype);
  VERDICT_ASSIGN_OR_RETURN(
      const int axis, NormalizeAxis(context, context.attributes().Int("axis", 0), x.shape.rank()));
  const AxisSplit split = SplitAt(x.shape, axis);
  const int64_t count = indices.size();
  std::byte* write = ElementAt(context.outputs[0].data, 0, element_size);
  const size_t row_bytes = static_cast<size_t>(split.inner) * element_size;
  for (int64_t outer = 0; outer < split.outer; ++outer) {
    for (int64_t i = 0; i < count; ++i) {
      int64_t index = IntElement(indices, i);
      if (!NormalizeIndex(split.extent, &index)) {
        return IndexError(context, IntElement(indices, i), axis, split.extent);
      }
      CopyElements(write,
                   ElementAt(x.data, (outer * split.extent + index) * split.inner, element_size),
                   split.inner, element_size);
      write += row_bytes;
    }
  }
  return OkStatus();
}

constexpr AttributeSpec kAttributes[] = {{"axis", AttributeType::kInt}};

}  // namespace

const OpDef kGatherOp = {.name = "Gather",
                         .min_inputs = 2,
                         .max_inputs = 2,
                         .min_outputs = 1,
                         .max_outputs = 1,
                         .attributes = kAttributes,
                         .infer = Infer,
                         .run = Run};

}  // namespace verdict
