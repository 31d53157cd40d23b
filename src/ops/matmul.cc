#include "ops/broadcast.h"
#include "ops/dispatch.h"
#include "ops/extents.h"
#include "ops/gemm_loops.h"
#include "ops/list.h"
#include "ops/strided.h"

namespace verdict {
namespace {

/// A shape as numpy's matmul reads it: a stack of matrices, where a vector is one row (on the
/// left) or one column (on the right).
struct Stack {
  Shape batch;
  Dim rows = 1;
  Dim columns = 1;
};

Stack StackOf(const Shape& shape, bool left) {
  Stack stack;
  const int rank = shape.rank();
  if (rank == 1) {
    (left ? stack.columns : stack.rows) = shape[0];
    return stack;
  }
  stack.batch = Shape(shape.dims().first(static_cast<size_t>(rank - 2)));
  stack.rows = shape[rank - 2];
  stack.columns = shape[rank - 1];
  return stack;
}

Status Infer(InferContext& context) {
  VERDICT_RETURN_IF_ERROR(RequireType(context, 0, FloatTypes{}));
  VERDICT_RETURN_IF_ERROR(RequireSameType(context, 0, 1));
  VERDICT_RETURN_IF_ERROR(RequireRank(context, 0, "A", 1));
  VERDICT_RETURN_IF_ERROR(RequireRank(context, 1, "B", 1));
  const Shape& a_shape = context.inputs[0].shape;
  const Shape& b_shape = context.inputs[1].shape;
  const Stack a = StackOf(a_shape, true);
  const Stack b = StackOf(b_shape, false);
  if (!MayEqual(a.columns, b.rows)) {
    return context.Error("A has shape " + ShapeText(context, a_shape) + " and B has shape " +
                         ShapeText(context, b_shape) + ": A's columns must be as many as B's rows");
  }
  Shape output = a.batch;
  if (!BroadcastShapes(context, b.batch, &output)) {
    return context.Error("A has shape " + ShapeText(context, a_shape) + " and B has shape " +
                         ShapeText(context, b_shape) +
                         ": their leading dimensions do not broadcast");
  }
  if (a_shape.rank() > 1) output.push_back(a.rows);
  if (b_shape.rank() > 1) output.push_back(b.columns);
  context.SetOutput(0, context.inputs[0].dtype, output);
  return OkStatus();
}

template <typename T>
void RunTyped(KernelContext& context) {
  const Stack a = StackOf(context.inputs[0].shape, true);
  const Stack b = StackOf(context.inputs[1].shape, false);
  const int64_t m = a.rows;
  const int64_t k = a.columns;
  const int64_t n = b.columns;
  const Shape& output = context.outputs[0].shape;
  const int vectors = (context.inputs[0].shape.rank() == 1) + (context.inputs[1].shape.rank() == 1);
  const int batch_rank = output.rank() - 2 + vectors;
  const Shape batch(output.dims().first(static_cast<size_t>(batch_rank)));
  const T* a_data = context.in<T>(0).data();
  const T* b_data = context.in<T>(1).data();
  const std::span<T> y = context.out<T>(0);
  std::fill(y.begin(), y.end(), T(0));
  T* c = y.data();
  const StridedWalk<2> walk(batch,
                            {BroadcastStrides(a.batch, batch), BroadcastStrides(b.batch, batch)});
  walk.ForEach([&](const auto& matrices) {
    AddProduct(a_data + matrices[0] * m * k, k, 1, b_data + matrices[1] * k * n, n, c, n, m, k, n);
    c += m * n;
  });
}

Status Run(KernelContext& context) {
  return Dispatch(FloatTypes{}, context.outputs[0].dtype, [&](auto zero) {
    RunTyped<decltype(zero)>(context);
    return OkStatus();
  });
}

}  // namespace

const OpDef kMatMulOp = {.name = "MatMul",
                         .min_inputs = 2,
                         .max_inputs = 2,
                         .min_outputs = 1,
                         .max_outputs = 1,
                         .attributes = {},
                         .infer = Infer,
                         .run = Run};

}  // namespace verdict
