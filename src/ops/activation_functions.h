#pragma once

#include <algorithm>
#include <cmath>
#include <numbers>
#include <optional>
#include <span>
#include <string_view>

namespace verdict {

/// Activations that FusedGemm and the recurrent operators take by name.
enum class ActivationKind {
  kNone,
  kAffine,
  kElu,
  kGelu,
  kGeluTanh,
  kHardSigmoid,
  kLeakyRelu,
  kRelu,
  kScaledTanh,
  kSigmoid,
  kSilu,
  kSoftplus,
  kSoftsign,
  kTanh,
  kThresholdedRelu,
};

struct Activation {
  ActivationKind kind = ActivationKind::kNone;
  float alpha = 0;
  float beta = 0;
};

/// The activation of that name ("" is none) with ONNX's default alpha and beta, or nothing.
std::optional<Activation> ActivationFromName(std::string_view name);

/// Whether the activation has that parameter.
bool TakesAlpha(ActivationKind kind);
bool TakesBeta(ActivationKind kind);

template <typename T>
T Sigmoid(T x) {
  return T(1) / (T(1) + std::exp(-x));
}

/// x * P(Z <= x) for a standard normal Z.
template <typename T>
T Gelu(T x) {
  return T(0.5) * x * (T(1) + std::erf(x / std::numbers::sqrt2_v<T>));
}

template <typename T>
T GeluTanh(T x) {
  const T scale = std::sqrt(T(2) / std::numbers::pi_v<T>);
  return T(0.5) * x * (T(1) + std::tanh(scale * (x + T(0.044715) * x * x * x)));
}

/// log(1 + exp(x)) without overflow.
template <typename T>
T Softplus(T x) {
  return std::max(x, T(0)) + std::log1p(std::exp(-std::abs(x)));
}

/// Applies the activation in place.
template <typename T>
void Apply(const Activation& activation, std::span<T> values) {
  const T alpha = static_cast<T>(activation.alpha);
  const T beta = static_cast<T>(activation.beta);
  const auto map = [&](auto fn) {
    for (T& x : values) x = fn(x);
  };
  switch (activation.kind) {
    case ActivationKind::kNone:
      return;
    case ActivationKind::kAffine:
      return map([&](T x) { return alpha * x + beta; });
    case ActivationKind::kElu:
      return map([&](T x) { return x < T(0) ? alpha * std::expm1(x) : x; });
    case ActivationKind::kGelu:
      return map([](T x) { return Gelu(x); });
    case ActivationKind::kGeluTanh:
      return map([](T x) { return GeluTanh(x); });
    case ActivationKind::kHardSigmoid:
      return map([&](T x) { return std::clamp(alpha * x + beta, T(0), T(1)); });
    case ActivationKind::kLeakyRelu:
      return map([&](T x) { return x < T(0) ? alpha * x : x; });
    case ActivationKind::kRelu:
      return map([](T x) { return x < T(0) ? T(0) : x; });  // NaN stays NaN
    case ActivationKind::kScaledTanh:
      return map([&](T x) { return alpha * std::tanh(beta * x); });
    case ActivationKind::kSigmoid:
      return map([](T x) { return Sigmoid(x); });
    case ActivationKind::kSilu:
      return map([](T x) { return x * Sigmoid(x); });
    case ActivationKind::kSoftplus:
      return map([](T x) { return Softplus(x); });
    case ActivationKind::kSoftsign:
      return map([](T x) { return x / (T(1) + std::abs(x)); });
    case ActivationKind::kTanh:
      return map([](T x) { return std::tanh(x); });
    case ActivationKind::kThresholdedRelu:
      return map([&](T x) { return x > alpha ? x : T(0); });
  }
}

}  // namespace verdict
