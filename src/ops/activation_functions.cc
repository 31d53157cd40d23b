#include "ops/activation_functions.h"

namespace verdict {

std::optional<Activation> ActivationFromName(std::string_view name) {
  struct Entry {
    std::string_view name;
    Activation activation;
  };
  static constexpr Entry kEntries[] = {
      {"", {ActivationKind::kNone}},
      {"Affine", {ActivationKind::kAffine, 1.0F, 0.0F}},
      {"Elu", {ActivationKind::kElu, 1.0F}},
      {"Gelu", {ActivationKind::kGelu}},
      {"GeluTanh", {ActivationKind::kGeluTanh}},
      {"HardSigmoid", {ActivationKind::kHardSigmoid, 0.2F, 0.5F}},
      {"LeakyRelu", {ActivationKind::kLeakyRelu, 0.01F}},
      {"Relu", {ActivationKind::kRelu}},
      {"ScaledTanh", {ActivationKind::kScaledTanh, 1.0F, 1.0F}},
      {"Sigmoid", {ActivationKind::kSigmoid}},
      {"Silu", {ActivationKind::kSilu}},
      {"Softplus", {ActivationKind::kSoftplus}},
      {"Softsign", {ActivationKind::kSoftsign}},
      {"Tanh", {ActivationKind::kTanh}},
      {"ThresholdedRelu", {ActivationKind::kThresholdedRelu, 1.0F}},
  };
  for (const Entry& entry : kEntries) {
    if (entry.name == name) return entry.activation;
  }
  return std::nullopt;
}

bool TakesAlpha(ActivationKind kind) {
  return kind == ActivationKind::kElu || kind == ActivationKind::kLeakyRelu ||
         kind == ActivationKind::kThresholdedRelu || TakesBeta(kind);
}

bool TakesBeta(ActivationKind kind) {
  return kind == ActivationKind::kAffine || kind == ActivationKind::kHardSigmoid ||
         kind == ActivationKind::kScaledTanh;
}

}  // namespace verdict
