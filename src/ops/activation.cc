#include <cmath>

#include "ops/activation_functions.h"
#include "ops/elementwise.h"
#include "ops/list.h"

namespace verdict {
namespace {

constexpr AttributeSpec kAlpha[] = {{"alpha", AttributeType::kFloat}};
constexpr AttributeSpec kAlphaBeta[] = {{"alpha", AttributeType::kFloat},
                                        {"beta", AttributeType::kFloat}};
constexpr AttributeSpec kAlphaGamma[] = {{"alpha", AttributeType::kFloat},
                                         {"gamma", AttributeType::kFloat}};
constexpr AttributeSpec kApproximate[] = {{"approximate", AttributeType::kString}};

struct LeakyRelu {
  float alpha = 0;
  LeakyRelu() = default;
  explicit LeakyRelu(const AttributeReader& a) : alpha(a.Float("alpha", 0.01F)) {}
  template <typename T>
  T operator()(T x) const {
    return x < 0 ? static_cast<T>(alpha) * x : x;
  }
};

struct Elu {
  float alpha = 0;
  Elu() = default;
  explicit Elu(const AttributeReader& a) : alpha(a.Float("alpha", 1.0F)) {}
  template <typename T>
  T operator()(T x) const {
    return x < 0 ? static_cast<T>(alpha) * std::expm1(x) : x;
  }
};

struct Selu {
  float alpha = 0;
  float gamma = 0;
  Selu() = default;
  explicit Selu(const AttributeReader& a)
      : alpha(a.Float("alpha", 1.67326319217681884765625F)),
        gamma(a.Float("gamma", 1.05070102214813232421875F)) {}
  template <typename T>
  T operator()(T x) const {
    return static_cast<T>(gamma) * (x > 0 ? x : static_cast<T>(alpha) * std::expm1(x));
  }
};

struct Celu {
  float alpha = 0;
  Celu() = default;
  explicit Celu(const AttributeReader& a) : alpha(a.Float("alpha", 1.0F)) {}
  template <typename T>
  T operator()(T x) const {
    const auto a = static_cast<T>(alpha);
    return x > 0 ? x : a * std::expm1(x / a);
  }
};

struct ThresholdedRelu {
  float alpha = 0;
  ThresholdedRelu() = default;
  explicit ThresholdedRelu(const AttributeReader& a) : alpha(a.Float("alpha", 1.0F)) {}
  template <typename T>
  T operator()(T x) const {
    return x > static_cast<T>(alpha) ? x : T{0};
  }
};

struct HardSigmoid {
  float alpha = 0;
  float beta = 0;
  HardSigmoid() = default;
  explicit HardSigmoid(const AttributeReader& a)
      : alpha(a.Float("alpha", 0.2F)), beta(a.Float("beta", 0.5F)) {}
  template <typename T>
  T operator()(T x) const {
    return std::clamp(static_cast<T>(alpha) * x + static_cast<T>(beta), T{0}, T{1});
  }
};

struct Swish {
  float alpha = 0;
  Swish() = default;
  explicit Swish(const AttributeReader& a) : alpha(a.Float("alpha", 1.0F)) {}
  template <typename T>
  T operator()(T x) const {
    return x * Sigmoid(static_cast<T>(alpha) * x);
  }
};

struct ExactOrTanhGelu {
  bool tanh = false;
  ExactOrTanhGelu() = default;
  explicit ExactOrTanhGelu(const AttributeReader& a)
      : tanh(a.String("approximate", "none") == "tanh") {}
  template <typename T>
  T operator()(T x) const {
    return tanh ? GeluTanh(x) : Gelu(x);
  }
};

}  // namespace

const OpDef kReluOp =
    UnaryOp("Relu", SignedTypes{}, [](auto x) { return x < 0 ? decltype(x){0} : x; });
const OpDef kSigmoidOp = UnaryOp("Sigmoid", FloatTypes{}, [](auto x) { return Sigmoid(x); });
const OpDef kSoftplusOp = UnaryOp("Softplus", FloatTypes{}, [](auto x) { return Softplus(x); });
const OpDef kSoftsignOp =
    UnaryOp("Softsign", FloatTypes{}, [](auto x) { return x / (1 + std::abs(x)); });
const OpDef kMishOp =
    UnaryOp("Mish", FloatTypes{}, [](auto x) { return x * std::tanh(Softplus(x)); });
const OpDef kHardSwishOp = UnaryOp("HardSwish", FloatTypes{}, [](auto x) {
  using T = decltype(x);
  return x * std::clamp(x / 6 + T(0.5), T{0}, T{1});
});
const OpDef kLeakyReluOp = UnaryOp("LeakyRelu", FloatTypes{}, LeakyRelu{}, kAlpha);
const OpDef kEluOp = UnaryOp("Elu", FloatTypes{}, Elu{}, kAlpha);
const OpDef kSeluOp = UnaryOp("Selu", FloatTypes{}, Selu{}, kAlphaGamma);
const OpDef kCeluOp = UnaryOp("Celu", FloatTypes{}, Celu{}, kAlpha);
const OpDef kThresholdedReluOp =
    UnaryOp("ThresholdedRelu", FloatTypes{}, ThresholdedRelu{}, kAlpha);
const OpDef kHardSigmoidOp = UnaryOp("HardSigmoid", FloatTypes{}, HardSigmoid{}, kAlphaBeta);
const OpDef kSwishOp = UnaryOp("Swish", FloatTypes{}, Swish{}, kAlpha);
const OpDef kGeluOp = UnaryOp("Gelu", FloatTypes{}, ExactOrTanhGelu{}, kApproximate);

}  // namespace verdict
