#include "ops/post_transform.h"

#include <algorithm>
#include <numbers>
#include <string>

#include "ops/dispatch.h"
#include "ops/extents.h"
#include "ops/list.h"

namespace verdict {
namespace {

constexpr AttributeSpec kAttributes[] = {{"post_transform", AttributeType::kString}};

/// The inverse of the error function to about 2e-3, the approximation ONNX Runtime uses, with its
/// constants: equal scores matter more here than exact ones.
/// Source: S. Winitzki, "A handy approximation for the error function and its inverse", 2008.
float ApproximateErfInverse(float x) {
  constexpr float kA = 0.147F;
  constexpr float kPi = 3.14159F;
  const float log = std::log((1 - x) * (1 + x));
  const float half = 2 / (kPi * kA) + 0.5F * log;
  const float root = std::sqrt(std::sqrt(half * half - 1 / kA * log) - half);
  return x < 0 ? -root : root;
}

void Softmax(std::span<float> scores) {
  const float max = *std::ranges::max_element(scores);
  float sum = 0;
  for (float& score : scores) sum += score = std::exp(score - max);
  for (float& score : scores) score /= sum;
}

/// Softmax over the scores that are not zero; zeros stay.
void SoftmaxZero(std::span<float> scores) {
  constexpr float kZero = 1e-7F;
  const float max = *std::ranges::max_element(scores);
  float sum = 0;
  for (float& score : scores) {
    if (std::abs(score) > kZero) {
      sum += score = std::exp(score - max);
    } else {
      score *= std::exp(-max);
    }
  }
  for (float& score : scores) score /= sum;
}

Status Infer(InferContext& context) {
  VERDICT_RETURN_IF_ERROR(RequireType(context, 0, Types<float>{}));
  VERDICT_RETURN_IF_ERROR(RequireRank(context, 0, "scores", 2, 2));
  const std::string_view name = context.attributes().String("post_transform", "NONE");
  if (!PostTransformFromName(name).has_value()) {
    return context.Error("unknown post_transform '" + std::string(name) + "'");
  }
  context.SetOutput(0, DataType::kFloat32, context.inputs[0].shape);
  return OkStatus();
}

Status Run(KernelContext& context) {
  const auto kind = *PostTransformFromName(context.attributes().String("post_transform", "NONE"));
  const auto x = context.in<float>(0);
  const auto y = context.out<float>(0);
  std::ranges::copy(x, y.begin());
  const auto columns = static_cast<size_t>(context.inputs[0].shape[1]);
  if (y.empty()) return OkStatus();
  for (size_t i = 0; i < y.size(); i += columns) ApplyPostTransform(kind, y.subspan(i, columns));
  return OkStatus();
}

}  // namespace

std::optional<PostTransformKind> PostTransformFromName(std::string_view name) {
  if (name == "NONE") return PostTransformKind::kNone;
  if (name == "SOFTMAX") return PostTransformKind::kSoftmax;
  if (name == "LOGISTIC") return PostTransformKind::kLogistic;
  if (name == "SOFTMAX_ZERO") return PostTransformKind::kSoftmaxZero;
  if (name == "PROBIT") return PostTransformKind::kProbit;
  return std::nullopt;
}

void ApplyPostTransform(PostTransformKind kind, std::span<float> scores) {
  if (scores.size() == 1 && kind != PostTransformKind::kProbit) return;
  switch (kind) {
    case PostTransformKind::kNone:
      return;
    case PostTransformKind::kSoftmax:
      return Softmax(scores);
    case PostTransformKind::kLogistic:
      for (float& score : scores) score = Logistic(score);
      return;
    case PostTransformKind::kSoftmaxZero:
      return SoftmaxZero(scores);
    case PostTransformKind::kProbit:
      for (float& score : scores) {
        score = std::numbers::sqrt2_v<float> * ApproximateErfInverse(2 * score - 1);
      }
      return;
  }
}

const OpDef kPostTransformOp = {.name = "PostTransform",
                                .min_inputs = 1,
                                .max_inputs = 1,
                                .min_outputs = 1,
                                .max_outputs = 1,
                                .attributes = kAttributes,
                                .infer = Infer,
                                .run = Run};

}  // namespace verdict
