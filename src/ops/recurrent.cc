#include "ops/recurrent.h"

#include <cmath>
#include <limits>

#include "ops/extents.h"
#include "ops/half.h"
#include "ops/quantize.h"
#include "ops/quantized_gemm.h"

namespace verdict {
namespace {

/// 0 for an unknown direction.
int64_t Directions(const AttributeReader& attributes) {
  const std::string_view direction = attributes.String("direction", "forward");
  if (direction == "bidirectional") return 2;
  return direction == "forward" || direction == "reverse" ? 1 : 0;
}

size_t CountActivations(const RecurrentKind& kind) {
  size_t count = 0;
  while (count < kind.activations.size() && !kind.activations[count].empty()) ++count;
  return count;
}

Status CheckQuantized(const InferContext& context, int64_t gate_rows) {
  VERDICT_RETURN_IF_ERROR(RequireType(context, kRecurrentX, Types<float>{}));
  const DataType type = context.inputs[kRecurrentW].dtype;
  VERDICT_RETURN_IF_ERROR(RequireType(context, kRecurrentW, Types<int8_t, Float16, BFloat16>{}));
  VERDICT_RETURN_IF_ERROR(RequireSameType(context, kRecurrentW, kRecurrentR));
  for (size_t scales : {kRecurrentWScales, kRecurrentRScales}) {
    if (context.has_input(scales) != (type == DataType::kInt8)) {
      return context.Error("weights of int8 need scales, others have none");
    }
    if (type != DataType::kInt8) continue;
    VERDICT_RETURN_IF_ERROR(RequireType(context, scales, Types<float>{}));
    VERDICT_RETURN_IF_ERROR(RequireShape(context, scales, "the scales", {gate_rows}));
  }
  if (type != DataType::kInt8) return OkStatus();
  for (size_t weights : {kRecurrentW, kRecurrentR}) {
    const Dim depth = context.inputs[weights].shape[2];
    if (!IsSymbol(depth) && depth > kMaxQuantizedDepth) {
      return context.Error("more than " + std::to_string(kMaxQuantizedDepth) +
                           " products a sum: int32 might overflow");
    }
  }
  return OkStatus();
}

/// By the row's own scale. A NaN makes all of the row NaN, as an infinity does.
void RoundToInt8(std::span<float> row) {
  float largest = 0;
  for (float value : row) {
    if (std::isnan(value)) {
      std::ranges::fill(row, value);
      return;
    }
    largest = std::max(largest, std::fabs(value));
  }
  float scale = largest / 127.0F;
  // No quotient by a number that small is right.
  if (scale < std::numeric_limits<float>::min()) scale = 1;
  for (float& value : row) value = static_cast<float>(Quantize<int8_t>(value, scale, 0)) * scale;
}

template <typename Half>
void RoundToHalf(std::span<float> row) {
  for (float& value : row) value = Half::Of(value).ToFloat();
}

template <typename Half>
void HalvesToFloats(const TensorView& weights, float* to) {
  const auto from = weights.as<const Half>();
  for (size_t i = 0; i < from.size(); ++i) to[i] = from[i].ToFloat();
}

void Int8ToFloats(const TensorView& weights, std::span<const float> scales, float* to) {
  const auto from = weights.as<const int8_t>();
  const auto depth = static_cast<size_t>(weights.shape[2]);
  for (size_t i = 0; i < from.size(); ++i) {
    to[i] = static_cast<float>(from[i]) * scales[i / depth % scales.size()];
  }
}

}  // namespace

Status InferRecurrent(InferContext& context, const RecurrentKind& kind) {
  const auto attributes = context.attributes();
  const int64_t directions = Directions(attributes);
  if (directions == 0) {
    return context.Error("unknown direction '" + std::string(attributes.String("direction", "")) +
                         "'; known are forward, reverse and bidirectional");
  }
  RecurrentActivations activations;
  if (!ReadRecurrentActivations(attributes, kind, directions, &activations)) {
    return context.Error("activations must name " + std::to_string(CountActivations(kind)) +
                         " known activations for each of " + std::to_string(directions) +
                         " directions");
  }
  VERDICT_RETURN_IF_ERROR(RequireType(context, kRecurrentX, FloatTypes{}));
  for (size_t input : {kRecurrentW, kRecurrentR, kRecurrentB, kRecurrentInitialH,
                       kRecurrentInitialC, kRecurrentP}) {
    if (kind.quantized && (input == kRecurrentW || input == kRecurrentR)) continue;
    if (context.has_input(input)) {
      VERDICT_RETURN_IF_ERROR(RequireSameType(context, kRecurrentX, input));
    }
  }
  VERDICT_RETURN_IF_ERROR(RequireRank(context, kRecurrentX, "X", 3, 3));
  VERDICT_RETURN_IF_ERROR(RequireRank(context, kRecurrentW, "W", 3, 3));
  VERDICT_RETURN_IF_ERROR(RequireRank(context, kRecurrentR, "R", 3, 3));
  const Shape& x = context.inputs[kRecurrentX].shape;
  const bool batch_first = attributes.Int("layout", 0) != 0;
  const Dim steps = x[batch_first ? 1 : 0];
  const Dim batch = x[batch_first ? 0 : 1];
  const Dim hidden = context.inputs[kRecurrentR].shape[2];
  if (IsSymbol(hidden)) {
    return Unimplemented(Graph::Describe(context.node) + ": the shape of R must be known");
  }
  if (attributes.Int("hidden_size", hidden) != hidden) {
    return context.Error("hidden_size is " + std::to_string(attributes.Int("hidden_size", 0)) +
                         " but " + InputText(context, kRecurrentR, "R"));
  }
  int64_t gate_rows = 0;
  if (__builtin_mul_overflow(hidden, int64_t{2} * kind.gates, &gate_rows)) {
    return context.Error(InputText(context, kRecurrentR, "R") + ", which is too large");
  }
  gate_rows /= 2;
  if (kind.quantized) VERDICT_RETURN_IF_ERROR(CheckQuantized(context, gate_rows));
  VERDICT_RETURN_IF_ERROR(RequireShape(context, kRecurrentW, "W", {directions, gate_rows, x[2]}));
  VERDICT_RETURN_IF_ERROR(RequireShape(context, kRecurrentR, "R", {directions, gate_rows, hidden}));
  if (context.has_input(kRecurrentB)) {
    VERDICT_RETURN_IF_ERROR(RequireShape(context, kRecurrentB, "B", {directions, 2 * gate_rows}));
  }
  if (context.has_input(kRecurrentSequenceLens)) {
    VERDICT_RETURN_IF_ERROR(RequireType(context, kRecurrentSequenceLens, Types<int32_t>{}));
    VERDICT_RETURN_IF_ERROR(
        RequireShape(context, kRecurrentSequenceLens, "sequence_lens", {batch}));
  }
  const Shape state =
      batch_first ? Shape{batch, directions, hidden} : Shape{directions, batch, hidden};
  if (context.has_input(kRecurrentInitialH)) {
    VERDICT_RETURN_IF_ERROR(RequireShape(context, kRecurrentInitialH, "initial_h", state));
  }
  if (context.has_input(kRecurrentInitialC)) {
    VERDICT_RETURN_IF_ERROR(RequireShape(context, kRecurrentInitialC, "initial_c", state));
  }
  if (context.has_input(kRecurrentP)) {
    VERDICT_RETURN_IF_ERROR(
        RequireShape(context, kRecurrentP, "P", {directions, kind.peephole_gates * hidden}));
  }
  const DataType dtype = context.inputs[kRecurrentX].dtype;
  context.SetOutput(0, dtype,
                    batch_first ? Shape{batch, steps, directions, hidden}
                                : Shape{steps, directions, batch, hidden});
  context.SetOutput(1, dtype, state);
  context.SetOutput(2, dtype, state);
  return OkStatus();
}

size_t RecurrentScratchBytes(std::span<const TensorView> inputs, size_t vectors) {
  return vectors * static_cast<size_t>(inputs[kRecurrentR].shape[2]) *
         ElementSize(inputs[kRecurrentX].dtype);
}

size_t QuantizedRecurrentScratchBytes(std::span<const TensorView> inputs, size_t vectors) {
  const Shape& w = inputs[kRecurrentW].shape;
  const Shape& r = inputs[kRecurrentR].shape;
  const auto row = static_cast<size_t>(std::max(w[2], r[2]));
  return RecurrentScratchBytes(inputs, vectors) +
         (inputs[kRecurrentW].size() + inputs[kRecurrentR].size() + row) * sizeof(float);
}

RecurrentWeights<float> DequantizeRecurrent(const KernelContext& context,
                                            std::span<float> scratch) {
  const TensorView& w = context.inputs[kRecurrentW];
  const TensorView& r = context.inputs[kRecurrentR];
  float* const to_w = scratch.data();
  float* const to_r = to_w + w.size();
  RecurrentWeights<float> weights{
      .w = to_w, .r = to_r, .rounded = scratch.subspan(w.size() + r.size())};
  switch (w.dtype) {
    case DataType::kFloat16:
      HalvesToFloats<Float16>(w, to_w);
      HalvesToFloats<Float16>(r, to_r);
      weights.round = RoundToHalf<Float16>;
      break;
    case DataType::kBFloat16:
      HalvesToFloats<BFloat16>(w, to_w);
      HalvesToFloats<BFloat16>(r, to_r);
      weights.round = RoundToHalf<BFloat16>;
      break;
    default:
      Int8ToFloats(w, context.in<float>(kRecurrentWScales), to_w);
      Int8ToFloats(r, context.in<float>(kRecurrentRScales), to_r);
      weights.round = RoundToInt8;
  }
  return weights;
}

RecurrentShape ReadRecurrentShape(const KernelContext& context) {
  const Shape& x = context.inputs[kRecurrentX].shape;
  RecurrentShape shape;
  shape.batch_first = context.attributes().Int("layout", 0) != 0;
  shape.steps = x[shape.batch_first ? 1 : 0];
  shape.batch = x[shape.batch_first ? 0 : 1];
  shape.inputs = x[2];
  shape.hidden = context.inputs[kRecurrentR].shape[2];
  shape.directions = context.inputs[kRecurrentR].shape[0];
  return shape;
}

bool ReadRecurrentActivations(const AttributeReader& attributes, const RecurrentKind& kind,
                              int64_t directions, RecurrentActivations* activations) {
  const size_t count = CountActivations(kind);
  const auto names = attributes.Strings("activations");
  auto alphas = attributes.Floats("activation_alpha");
  auto betas = attributes.Floats("activation_beta");
  if (!names.empty() && names.size() != count * static_cast<size_t>(directions)) return false;
  for (size_t d = 0; d < static_cast<size_t>(directions); ++d) {
    for (size_t i = 0; i < count; ++i) {
      const std::string_view name =
          names.empty() ? kind.activations[i] : std::string_view(names[d * count + i]);
      auto activation = ActivationFromName(name);
      if (!activation.has_value() || activation->kind == ActivationKind::kNone) return false;
      if (TakesAlpha(activation->kind) && !alphas.empty()) {
        activation->alpha = alphas.front();
        alphas = alphas.subspan(1);
      }
      if (TakesBeta(activation->kind) && !betas.empty()) {
        activation->beta = betas.front();
        betas = betas.subspan(1);
      }
      (*activations)[d * 3 + i] = *activation;
    }
  }
  return true;
}

}  // namespace verdict
