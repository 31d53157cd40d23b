#include "ops/broadcast.h"
#include "ops/dispatch.h"
#include "ops/extents.h"
#include "ops/gemm_loops.h"
#include "ops/list.h"

namespace verdict {
namespace {

constexpr AttributeSpec kAttributes[] = {{"alpha", AttributeType::kFloat},
                                         {"beta", AttributeType::kFloat},
                                         {"transA", AttributeType::kInt},
                                         {"transB", AttributeType::kInt}};

/// C broadcasts one way, to [rows, columns].
Status CheckBias(const InferContext& context, Dim rows, Dim columns) {
  const Shape& bias = context.inputs[2].shape;
  const auto fits = [](Dim have, Dim want) { return have == 1 || MayEqual(have, want); };
  const int rank = bias.rank();
  if (rank <= 2 && (rank < 1 || fits(bias[rank - 1], columns)) &&
      (rank < 2 || fits(bias[0], rows))) {
    return OkStatus();
  }
  return context.Error(InputText(context, 2, "C") + ", which does not broadcast to " +
                       ShapeText(context, {rows, columns}));
}

Status Infer(InferContext& context) {
  VERDICT_RETURN_IF_ERROR(RequireType(context, 0, FloatTypes{}));
  VERDICT_RETURN_IF_ERROR(RequireSameType(context, 0, 1));
  VERDICT_RETURN_IF_ERROR(RequireRank(context, 0, "A", 2, 2));
  VERDICT_RETURN_IF_ERROR(RequireRank(context, 1, "B", 2, 2));
  const Shape& a = context.inputs[0].shape;
  const Shape& b = context.inputs[1].shape;
  const bool trans_a = context.attributes().Int("transA", 0) != 0;
  const bool trans_b = context.attributes().Int("transB", 0) != 0;
  if (!MayEqual(a[trans_a ? 0 : 1], b[trans_b ? 1 : 0])) {
    return context.Error("A" + std::string(trans_a ? " transposed" : "") + " has shape " +
                         ShapeText(context, a) + " and B" + (trans_b ? " transposed" : "") +
                         " has shape " + ShapeText(context, b) +
                         ": the extent they share must be equal");
  }
  const Dim rows = a[trans_a ? 1 : 0];
  const Dim columns = b[trans_b ? 0 : 1];
  if (context.has_input(2)) {
    VERDICT_RETURN_IF_ERROR(RequireSameType(context, 0, 2));
    VERDICT_RETURN_IF_ERROR(CheckBias(context, rows, columns));
  }
  context.SetOutput(0, context.inputs[0].dtype, {rows, columns});
  return OkStatus();
}

template <typename T>
void RunTyped(KernelContext& context) {
  const auto attributes = context.attributes();
  const bool trans_a = attributes.Int("transA", 0) != 0;
  const bool trans_b = attributes.Int("transB", 0) != 0;
  const T alpha = static_cast<T>(attributes.Float("alpha", 1.0F));
  const T beta = static_cast<T>(attributes.Float("beta", 1.0F));
  const Shape& a_shape = context.inputs[0].shape;
  const int64_t m = context.outputs[0].shape[0];
  const int64_t n = context.outputs[0].shape[1];
  const int64_t k = a_shape[trans_a ? 0 : 1];
  const T* a = context.in<T>(0).data();
  const T* b = context.in<T>(1).data();
  const std::span<T> y = context.out<T>(0);

  std::fill(y.begin(), y.end(), T(0));
  if (!trans_b) {
    AddProduct(a, trans_a ? 1 : k, trans_a ? m : 1, b, n, y.data(), n, m, k, n);
  } else if (!trans_a) {
    AddProductTransposed(a, b, y.data(), m, k, n);
  } else {
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        for (int64_t p = 0; p < k; ++p) y[i * n + j] += a[p * m + i] * b[j * k + p];
      }
    }
  }
  if (alpha != T(1)) {
    for (T& value : y) value *= alpha;
  }
  if (!context.has_input(2) || beta == T(0)) return;
  const Shape& c_shape = context.inputs[2].shape;
  const int rank = c_shape.rank();
  const int64_t c_column = rank >= 1 && c_shape[rank - 1] != 1 ? 1 : 0;
  const int64_t c_row = rank == 2 && c_shape[0] != 1 ? c_shape[1] : 0;
  const T* c = context.in<T>(2).data();
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) y[i * n + j] += beta * c[i * c_row + j * c_column];
  }
}

Status Run(KernelContext& context) {
  return Dispatch(FloatTypes{}, context.outputs[0].dtype, [&](auto zero) {
    RunTyped<decltype(zero)>(context);
    return OkStatus();
  });
}

}  // namespace

const OpDef kGemmOp = {.name = "Gemm",
                       .min_inputs = 2,
                       .max_inputs = 3,
                       .min_outputs = 1,
                       .max_outputs = 1,
                       .attributes = kAttributes,
                       .infer = Infer,
                       .run = Run};

}  // namespace verdict
