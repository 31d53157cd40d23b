#pragma once

#include <cmath>
#include <optional>
#include <span>
#include <string_view>

namespace verdict {

/// What ai.onnx.ml's linear and tree operators do with raw scores.
enum class PostTransformKind { kNone, kSoftmax, kLogistic, kSoftmaxZero, kProbit };

/// By ONNX's name, or nothing.
std::optional<PostTransformKind> PostTransformFromName(std::string_view name);

/// 1 / (1 + exp(-x)), precise in both tails.
inline float Logistic(float x) {
  const float e = std::exp(-std::abs(x));
  return x < 0 ? e / (1 + e) : 1 / (1 + e);
}

/// Transforms one row of scores in place. A row of one changes for kProbit only, as in ONNX
/// Runtime.
void ApplyPostTransform(PostTransformKind kind, std::span<float> scores);

}  // namespace verdict
