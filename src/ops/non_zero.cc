#include <algorithm>

#include "ops/dispatch.h"
#include "ops/list.h"

namespace verdict {
namespace {

using TestTypes = Types<float, double, int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t,
                        uint32_t, uint64_t, bool>;

/// How many elements there are is known with the contents only: the operator folds where its input
/// is a constant, and no engine can be planned for the rest.
Status Infer(InferContext& context) {
  VERDICT_RETURN_IF_ERROR(RequireType(context, 0, TestTypes{}));
  const TensorView& x = context.inputs[0];
  Dim count = 0;
  if (x.data == nullptr) {
    count = context.UnknownDim();
  } else {
    VERDICT_RETURN_IF_ERROR(Dispatch(TestTypes{}, x.dtype, [&]<typename T>(T) {
      count = std::ranges::count_if(x.as<const T>(), [](T value) { return value != T{}; });
      return OkStatus();
    }));
  }
  context.SetOutput(0, DataType::kInt64, Shape{std::max(x.shape.rank(), 1), count});
  return OkStatus();
}

/// Column j of the output holds the coordinates of the j-th element that is not zero.
Status Run(KernelContext& context) {
  const Shape& shape = context.inputs[0].shape;
  const auto y = context.out<int64_t>(0);
  const auto columns = static_cast<size_t>(context.outputs[0].shape[1]);
  return Dispatch(TestTypes{}, context.inputs[0].dtype, [&]<typename T>(T) {
    const auto x = context.in<T>(0);
    size_t column = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      if (x[i] == T{}) continue;
      if (column == columns) return context.Error("more elements than were planned for");
      auto rest = static_cast<int64_t>(i);
      if (shape.rank() == 0) y[column] = 0;
      for (int axis = shape.rank() - 1; axis >= 0; --axis) {
        y[static_cast<size_t>(axis) * columns + column] = rest % shape[axis];
        rest /= shape[axis];
      }
      ++column;
    }
    return column == columns ? OkStatus() : context.Error("fewer elements than were planned for");
  });
}

}  // namespace

const OpDef kNonZeroOp = {.name = "NonZero",
                          .min_inputs = 1,
                          .max_inputs = 1,
                          .min_outputs = 1,
                          .max_outputs = 1,
                          .attributes = {},
                          .infer = Infer,
                          .run = Run};

}  // namespace verdict
