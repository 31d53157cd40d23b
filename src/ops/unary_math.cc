#include <cmath>

#include "ops/elementwise.h"
#include "ops/list.h"
#include "ops/wrapping.h"

namespace verdict {
namespace {

template <typename T>
T SignOf(T x) {
  if (x > T{0}) return T{1};
  if constexpr (std::is_signed_v<T>) {
    if (x < T{0}) return T{-1};
  }
  return x == T{0} ? T{0} : x;  // NaN stays
}

template <typename T>
T AbsOf(T x) {
  if constexpr (std::is_floating_point_v<T>) {
    return std::abs(x);
  } else if constexpr (std::is_signed_v<T>) {
    return x < 0 ? WrapSub(T{0}, x) : x;  // the least integer stays as it is
  } else {
    return x;
  }
}

template <typename T>
T Negate(T x) {
  if constexpr (std::is_floating_point_v<T>) {
    return -x;
  } else {
    return WrapSub(T{0}, x);
  }
}

}  // namespace

const OpDef kAbsOp = UnaryOp("Abs", NumericTypes{}, [](auto x) { return AbsOf(x); });
const OpDef kNegOp = UnaryOp("Neg", SignedTypes{}, [](auto x) { return Negate(x); });
const OpDef kSignOp = UnaryOp("Sign", NumericTypes{}, [](auto x) { return SignOf(x); });

const OpDef kExpOp = UnaryOp("Exp", FloatTypes{}, [](auto x) { return std::exp(x); });
const OpDef kLogOp = UnaryOp("Log", FloatTypes{}, [](auto x) { return std::log(x); });
const OpDef kSqrtOp = UnaryOp("Sqrt", FloatTypes{}, [](auto x) { return std::sqrt(x); });
const OpDef kReciprocalOp = UnaryOp("Reciprocal", FloatTypes{}, [](auto x) { return 1 / x; });
const OpDef kErfOp = UnaryOp("Erf", FloatTypes{}, [](auto x) { return std::erf(x); });

const OpDef kFloorOp = UnaryOp("Floor", FloatTypes{}, [](auto x) { return std::floor(x); });
const OpDef kCeilOp = UnaryOp("Ceil", FloatTypes{}, [](auto x) { return std::ceil(x); });
// Halves to even: the default rounding mode, which nothing here changes.
const OpDef kRoundOp = UnaryOp("Round", FloatTypes{}, [](auto x) { return std::nearbyint(x); });

const OpDef kSinOp = UnaryOp("Sin", FloatTypes{}, [](auto x) { return std::sin(x); });
const OpDef kCosOp = UnaryOp("Cos", FloatTypes{}, [](auto x) { return std::cos(x); });
const OpDef kTanOp = UnaryOp("Tan", FloatTypes{}, [](auto x) { return std::tan(x); });
const OpDef kAsinOp = UnaryOp("Asin", FloatTypes{}, [](auto x) { return std::asin(x); });
const OpDef kAcosOp = UnaryOp("Acos", FloatTypes{}, [](auto x) { return std::acos(x); });
const OpDef kAtanOp = UnaryOp("Atan", FloatTypes{}, [](auto x) { return std::atan(x); });
const OpDef kSinhOp = UnaryOp("Sinh", FloatTypes{}, [](auto x) { return std::sinh(x); });
const OpDef kCoshOp = UnaryOp("Cosh", FloatTypes{}, [](auto x) { return std::cosh(x); });
const OpDef kTanhOp = UnaryOp("Tanh", FloatTypes{}, [](auto x) { return std::tanh(x); });
const OpDef kAsinhOp = UnaryOp("Asinh", FloatTypes{}, [](auto x) { return std::asinh(x); });
const OpDef kAcoshOp = UnaryOp("Acosh", FloatTypes{}, [](auto x) { return std::acosh(x); });
const OpDef kAtanhOp = UnaryOp("Atanh", FloatTypes{}, [](auto x) { return std::atanh(x); });

}  // namespace verdict
