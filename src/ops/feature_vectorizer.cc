#include <algorithm>
#include <limits>

#include "base/checked_math.h"
#include "ops/feature_types.h"
#include "ops/list.h"

namespace verdict {
namespace {

constexpr AttributeSpec kAttributes[] = {{"inputdimensions", AttributeType::kInts, true}};

/// Columns of an input: a list is one column.
Dim Columns(const TensorView& x) { return x.shape.rank() == 1 ? 1 : x.shape[1]; }

Status Infer(InferContext& context) {
  const auto widths = context.attributes().Ints("inputdimensions");
  if (widths.size() != context.inputs.size()) {
    return context.Error("inputdimensions has " + std::to_string(widths.size()) +
                         " entries, needs one for each of the " +
                         std::to_string(context.inputs.size()) + " inputs");
  }
  Dim rows = -1;
  int64_t total = 0;
  for (size_t i = 0; i < context.inputs.size(); ++i) {
    VERDICT_RETURN_IF_ERROR(RequireType(context, i, FeatureTypes{}));
    VERDICT_RETURN_IF_ERROR(RequireRank(context, i, "X", 1, 2));
    const Dim these_rows = context.inputs[i].shape[0];
    rows = i == 0 ? these_rows : rows;
    if (!MayEqual(rows, these_rows)) {
      return context.Error(InputText(context, i, "X") + ", needs as many rows as input 0, " +
                           std::to_string(rows));
    }
    rows = MoreKnown(rows, these_rows);
    if (widths[i] < 0 || !CheckedAdd(total, widths[i], &total)) {
      return context.Error("inputdimensions[" + std::to_string(i) + "] is " +
                           std::to_string(widths[i]) + ", out of range");
    }
  }
  context.SetOutput(0, DataType::kFloat32, {rows, total});
  return OkStatus();
}

Status Run(KernelContext& context) {
  const auto widths = context.attributes().Ints("inputdimensions");
  const auto rows = static_cast<size_t>(context.outputs[0].shape[0]);
  const auto total = static_cast<size_t>(context.outputs[0].shape[1]);
  const auto y = context.out<float>(0);
  std::ranges::fill(y, 0.0F);
  size_t start = 0;
  for (size_t input = 0; input < context.inputs.size(); ++input) {
    const auto columns = static_cast<size_t>(Columns(context.inputs[input]));
    const auto width = static_cast<size_t>(widths[input]);
    VERDICT_RETURN_IF_ERROR(Dispatch(FeatureTypes{}, context.inputs[input].dtype, [&](auto zero) {
      const auto x = context.in<decltype(zero)>(input);
      for (size_t row = 0; row < rows; ++row) {
        for (size_t column = 0; column < std::min(columns, width); ++column) {
          y[row * total + start + column] = static_cast<float>(x[row * columns + column]);
        }
      }
      return OkStatus();
    }));
    start += width;
  }
  return OkStatus();
}

}  // namespace

const OpDef kFeatureVectorizerOp = {.name = "FeatureVectorizer",
                                    .min_inputs = 1,
                                    .max_inputs = kVariadic,
                                    .min_outputs = 1,
                                    .max_outputs = 1,
                                    .attributes = kAttributes,
                                    .infer = Infer,
                                    .run = Run};

}  // namespace verdict
