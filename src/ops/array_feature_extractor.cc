#include <cstring>

#include "ops/dispatch.h"
#include "ops/extents.h"
#include "ops/list.h"

namespace verdict {
namespace {

using ExtractedTypes = Types<float, double, int32_t, int64_t, std::string_view>;

Status Infer(InferContext& context) {
  VERDICT_RETURN_IF_ERROR(RequireType(context, 0, ExtractedTypes{}));
  VERDICT_RETURN_IF_ERROR(RequireType(context, 1, Types<int64_t>{}));
  VERDICT_RETURN_IF_ERROR(RequireRank(context, 0, "X", 1));
  VERDICT_RETURN_IF_ERROR(RequireRank(context, 1, "indices", 1, 2));
  const Shape& indices = context.inputs[1].shape;
  const Dim count = indices[indices.rank() - 1];
  if (indices.rank() == 2) VERDICT_RETURN_IF_ERROR(RequireShape(context, 1, "indices", {1, count}));
  Shape output = context.inputs[0].shape;
  if (output.rank() == 1) {
    output = {1, count};
  } else {
    output[output.rank() - 1] = count;
  }
  context.SetOutput(0, context.inputs[0].dtype, output);
  return OkStatus();
}

Status Run(KernelContext& context) {
  const TensorView& x = context.inputs[0];
  const auto indices = context.in<int64_t>(1);
  const int64_t features = x.shape[x.shape.rank() - 1];
  for (int64_t index : indices) {
    if (index < 0 || index >= features) {
      return context.Error("index " + std::to_string(index) + " is out of range for " +
                           std::to_string(features) + " columns");
    }
  }
  const size_t size = ElementSize(x.dtype);
  auto* y = static_cast<std::byte*>(context.outputs[0].data);
  const auto* row = static_cast<const std::byte*>(x.data);
  const int64_t rows = indices.empty() || features == 0 ? 0 : x.size() / features;
  for (int64_t i = 0; i < rows; ++i, row += static_cast<size_t>(features) * size) {
    for (int64_t index : indices) {
      std::memcpy(y, row + static_cast<size_t>(index) * size, size);
      y += size;
    }
  }
  return OkStatus();
}

}  // namespace

const OpDef kArrayFeatureExtractorOp = {.name = "ArrayFeatureExtractor",
                                        .min_inputs = 2,
                                        .max_inputs = 2,
                                        .min_outputs = 1,
                                        .max_outputs = 1,
                                        .attributes = {},
                                        .infer = Infer,
                                        .run = Run};

}  // namespace verdict
