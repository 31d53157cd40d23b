#include <algorithm>
#include <cstring>

#include "ops/axes.h"
#include "ops/cast.h"
#include "ops/dispatch.h"
#include "ops/extents.h"
#include "ops/list.h"
#include "ops/strided.h"

namespace verdict {
namespace {

/// A diagonal further away than this leaves a matrix whole or empty just the same.
int64_t ClampDiagonal(int64_t k) {
  constexpr int64_t kFar = int64_t{1} << 62;
  return std::clamp(k, -kFar, kFar);
}

Status InferTrilu(InferContext& context) {
  VERDICT_RETURN_IF_ERROR(RequireRank(context, 0, "input", 2));
  if (context.has_input(1)) {
    VERDICT_RETURN_IF_ERROR(RequireInts(context, 1));
    const auto count = NumElements(context.inputs[1].shape);
    if (!count.ok() || *count != 1) {
      return context.Error(InputText(context, 1, "k") + ", needs one element");
    }
  }
  context.SetOutput(0, context.inputs[0].dtype, context.inputs[0].shape);
  return OkStatus();
}

Status RunTrilu(KernelContext& context) {
  const TensorView& x = context.inputs[0];
  const TensorView& y = context.outputs[0];
  const size_t size = ElementSize(x.dtype);
  const bool upper = context.attributes().Int("upper", 1) != 0;
  const int64_t k = ClampDiagonal(context.has_input(1) ? IntElement(context.inputs[1], 0) : 0);
  const int64_t rows = x.shape[x.shape.rank() - 2];
  const int64_t columns = x.shape[x.shape.rank() - 1];
  const int64_t count = x.size();
  if (count == 0) return OkStatus();
  std::memset(y.data, 0, static_cast<size_t>(count) * size);
  for (int64_t i = 0; i < count / columns; ++i) {
    const int64_t diagonal = i % rows + k;
    const int64_t begin = upper ? std::clamp<int64_t>(diagonal, 0, columns) : 0;
    const int64_t end = upper ? columns : std::clamp<int64_t>(diagonal + 1, 0, columns);
    CopyElements(ElementAt(y.data, i * columns + begin, size),
                 ElementAt(static_cast<const void*>(x.data), i * columns + begin, size),
                 end - begin, size);
  }
  return OkStatus();
}

using EyeTypes = Types<float, double, int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t,
                       uint32_t, uint64_t, bool>;

Status InferEyeLike(InferContext& context) {
  VERDICT_RETURN_IF_ERROR(RequireRank(context, 0, "input", 2, 2));
  const AttributeReader attributes = context.attributes();
  const DataType dtype = attributes.Has("dtype") ? DataTypeFromOnnx(attributes.Int("dtype", 0))
                                                 : context.inputs[0].dtype;
  if (!HoldsType(EyeTypes{}, dtype)) {
    return Unimplemented(Graph::Describe(context.node) + ": an output of type " +
                         std::string(DataTypeName(dtype)) + " is not supported");
  }
  context.SetOutput(0, dtype, context.inputs[0].shape);
  return OkStatus();
}

Status RunEyeLike(KernelContext& context) {
  const TensorView& output = context.outputs[0];
  const int64_t k = ClampDiagonal(context.attributes().Int("k", 0));
  const int64_t columns = output.shape[1];
  return Dispatch(EyeTypes{}, output.dtype, [&]<typename T>(T) {
    const auto y = context.out<T>(0);
    std::ranges::fill(y, T{0});
    for (int64_t row = 0; row < output.shape[0]; ++row) {
      if (row + k >= 0 && row + k < columns) y[static_cast<size_t>(row * columns + row + k)] = T{1};
    }
    return OkStatus();
  });
}

constexpr AttributeSpec kTriluAttributes[] = {{"upper", AttributeType::kInt}};
constexpr AttributeSpec kEyeLikeAttributes[] = {{"dtype", AttributeType::kInt},
                                                {"k", AttributeType::kInt}};

}  // namespace

const OpDef kTriluOp = {.name = "Trilu",
                        .min_inputs = 1,
                        .max_inputs = 2,
                        .min_outputs = 1,
                        .max_outputs = 1,
                        .attributes = kTriluAttributes,
                        .infer = InferTrilu,
                        .run = RunTrilu};

const OpDef kEyeLikeOp = {.name = "EyeLike",
                          .min_inputs = 1,
                          .max_inputs = 1,
                          .min_outputs = 1,
                          .max_outputs = 1,
                          .attributes = kEyeLikeAttributes,
                          .infer = InferEyeLike,
                          .run = RunEyeLike};

}  // namespace verdict
