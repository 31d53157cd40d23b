#include <cmath>

#include "ops/axes.h"
#include "ops/dispatch.h"
#include "ops/extents.h"
#include "ops/list.h"

namespace verdict {
namespace {

constexpr AttributeSpec kAttributes[] = {{"axis", AttributeType::kInt},
                                         {"epsilon", AttributeType::kFloat},
                                         {"stash_type", AttributeType::kInt}};

/// Scale or bias: the shape of the normalized axes, or one element for all.
Status CheckPerElement(const InferContext& context, size_t input, std::string_view name, int axis) {
  VERDICT_RETURN_IF_ERROR(RequireSameType(context, 0, input));
  const Shape& shape = context.inputs[input].shape;
  if (shape.rank() == 0 || (shape.rank() == 1 && shape[0] == 1)) return OkStatus();
  const auto dims = context.inputs[0].shape.dims();
  return RequireShape(context, input, name, Shape(dims.subspan(static_cast<size_t>(axis))));
}

Status Infer(InferContext& context) {
  VERDICT_RETURN_IF_ERROR(RequireType(context, 0, FloatTypes{}));
  const TensorView& x = context.inputs[0];
  VERDICT_ASSIGN_OR_RETURN(
      const int axis, NormalizeAxis(context, context.attributes().Int("axis", -1), x.shape.rank()));
  VERDICT_RETURN_IF_ERROR(CheckPerElement(context, 1, "Scale", axis));
  if (context.has_input(2)) {
    VERDICT_RETURN_IF_ERROR(CheckPerElement(context, 2, "B", axis));
  }
  context.SetOutput(0, x.dtype, x.shape);
  Shape statistics = x.shape;
  for (int i = axis; i < x.shape.rank(); ++i) statistics[i] = 1;
  context.SetOutput(1, DataType::kFloat32, statistics);
  context.SetOutput(2, DataType::kFloat32, statistics);
  return OkStatus();
}

/// kSubtractMean: LayerNormalization; without: RMSNormalization. Sums are in double.
template <typename T, bool kSubtractMean>
void RunTyped(KernelContext& context) {
  const auto attributes = context.attributes();
  const Shape& shape = context.inputs[0].shape;
  const int axis = NormalizeAxis(context, attributes.Int("axis", -1), shape.rank()).value();
  const double epsilon = attributes.Float("epsilon", 1e-5F);
  const auto x = context.in<T>(0);
  const auto scale = context.in<T>(1);
  const auto y = context.out<T>(0);
  const auto bias = context.has_input(2) ? context.in<T>(2) : std::span<const T>();
  if (y.empty()) return;
  size_t rows = 1;
  for (int i = 0; i < axis; ++i) rows *= static_cast<size_t>(shape[i]);
  const size_t size = x.size() / rows;
  for (size_t row = 0; row < rows; ++row) {
    const auto in = x.subspan(row * size, size);
    const auto out = y.subspan(row * size, size);
    double mean = 0;
    if constexpr (kSubtractMean) {
      for (T value : in) mean += value;
      mean /= static_cast<double>(size);
    }
    double squares = 0;
    for (T value : in) squares += (value - mean) * (value - mean);
    const double inverse = 1 / std::sqrt(squares / static_cast<double>(size) + epsilon);
    for (size_t i = 0; i < size; ++i) {
      T value = static_cast<T>((in[i] - mean) * inverse) * scale[scale.size() == 1 ? 0 : i];
      if (!bias.empty()) value += bias[bias.size() == 1 ? 0 : i];
      out[i] = value;
    }
    if (context.has_output(1)) context.out<float>(1)[row] = static_cast<float>(mean);
    if (context.has_output(2)) context.out<float>(2)[row] = static_cast<float>(inverse);
  }
}

template <bool kSubtractMean>
Status Run(KernelContext& context) {
  return Dispatch(FloatTypes{}, context.outputs[0].dtype, [&](auto zero) {
    RunTyped<decltype(zero), kSubtractMean>(context);
    return OkStatus();
  });
}

}  // namespace

const OpDef kLayerNormalizationOp = {.name = "LayerNormalization",
                                     .min_inputs = 2,
                                     .max_inputs = 3,
                                     .min_outputs = 1,
                                     .max_outputs = 3,
                                     .attributes = kAttributes,
                                     .infer = Infer,
                                     .run = Run<true>};

const OpDef kRmsNormalizationOp = {.name = "RMSNormalization",
                                   .min_inputs = 2,
                                   .max_inputs = 2,
                                   .min_outputs = 1,
                                   .max_outputs = 1,
                                   .attributes = kAttributes,
                                   .infer = Infer,
                                   .run = Run<false>};

}  // namespace verdict
