#include <cmath>
#include <limits>

#include "ops/elementwise.h"
#include "ops/list.h"
#include "ops/wrapping.h"

namespace verdict {
namespace {

struct Divide {
  const char* error = nullptr;
  template <typename T>
  T operator()(T a, T b) {
    if constexpr (std::is_integral_v<T>) {
      if (b == 0) {
        error = "integer division by zero";
        return 0;
      }
      if constexpr (std::is_signed_v<T>) {
        if (b == -1 && a == std::numeric_limits<T>::min()) {
          error = "integer division overflows (the least integer by -1)";
          return 0;
        }
      }
    }
    return static_cast<T>(a / b);
  }
};

/// fmod = 0: the result has the divisor's sign, integers only; 1: the dividend's, as C's fmod.
struct Modulo {
  bool fmod = false;
  const char* error = nullptr;
  Modulo() = default;
  explicit Modulo(const AttributeReader& a) : fmod(a.Int("fmod", 0) != 0) {}
  template <typename T>
  T operator()(T a, T b) {
    if constexpr (std::is_floating_point_v<T>) {
      return std::fmod(a, b);
    } else {
      if (b == 0) {
        error = "integer modulo by zero";
        return 0;
      }
      if constexpr (std::is_signed_v<T>) {
        if (b == -1) return 0;  // the least integer by -1 would trap
        const auto rest = static_cast<T>(a % b);
        return !fmod && rest != 0 && (rest < 0) != (b < 0) ? static_cast<T>(rest + b) : rest;
      } else {
        return static_cast<T>(a % b);
      }
    }
  }
};

constexpr AttributeSpec kModAttributes[] = {{"fmod", AttributeType::kInt}};

Status InferMod(InferContext& context) {
  if (context.attributes().Int("fmod", 0) == 0 && IsFloating(context.inputs[0].dtype)) {
    return context.Error("Mod of floats needs the attribute fmod = 1");
  }
  return InferBinary<NumericTypes, false>(context);
}

constexpr OpDef ModOp() {
  OpDef op = BinaryOp("Mod", NumericTypes{}, Modulo{}, kModAttributes);
  op.infer = InferMod;
  return op;
}

/// Integer powers are exact modulo 2^bits; a negative exponent gives the truncated reciprocal.
struct Power {
  const char* error = nullptr;
  template <typename T, typename E>
  T operator()(T base, E exponent) {
    if constexpr (std::is_floating_point_v<T>) {
      if constexpr (std::is_same_v<E, double>) {
        return static_cast<T>(std::pow(static_cast<double>(base), exponent));
      } else {
        return std::pow(base, static_cast<T>(exponent));
      }
    } else if constexpr (std::is_floating_point_v<E>) {
      const double power = std::pow(static_cast<double>(base), static_cast<double>(exponent));
      // 2^bits as a double is exact, the greatest integer may not be.
      constexpr double kLimit = 2.0 * static_cast<double>(T{1} << (sizeof(T) * 8 - 2));
      if (!(power >= -kLimit && power < kLimit)) {
        error = "an integer power does not fit its type";
        return 0;
      }
      return static_cast<T>(power);
    } else {
      if (exponent < 0) {
        if (base == 0) error = "zero to a negative power";
        if (base == 1) return 1;
        if (base == -1) return exponent % 2 == 0 ? 1 : -1;
        return 0;
      }
      T result = 1;
      for (; exponent > 0; exponent /= 2) {
        if (exponent % 2 != 0) result = WrapMul(result, base);
        base = WrapMul(base, base);
      }
      return result;
    }
  }
};

using PowerTypes = Types<float, double, int32_t, int64_t>;

Status InferPow(InferContext& context) {
  VERDICT_RETURN_IF_ERROR(RequireType(context, 0, PowerTypes{}));
  VERDICT_RETURN_IF_ERROR(RequireType(context, 1, PowerTypes{}));
  Shape shape;
  VERDICT_RETURN_IF_ERROR(BroadcastInputs(context, &shape));
  context.SetOutput(0, context.inputs[0].dtype, shape);
  return OkStatus();
}

Status RunPow(KernelContext& context) {
  const TensorView& x = context.inputs[0];
  const TensorView& y = context.inputs[1];
  return Dispatch(PowerTypes{}, x.dtype, [&]<typename T>(T) {
    return Dispatch(PowerTypes{}, y.dtype, [&]<typename E>(E) {
      Power power;
      BroadcastApply<T, T, E>(context.outputs[0], x, y, power);
      return power.error == nullptr ? OkStatus() : context.Error(power.error);
    });
  });
}

/// The slope broadcasts to X, never the other way round.
Status InferPRelu(InferContext& context) {
  VERDICT_RETURN_IF_ERROR((InferBinary<SignedTypes, false>(context)));
  const Shape& x = context.inputs[0].shape;
  const Shape& slope = context.inputs[1].shape;
  bool fits = slope.rank() <= x.rank();
  for (int axis = 0; fits && axis < slope.rank(); ++axis) {
    const Dim extent = x[axis + x.rank() - slope.rank()];
    fits = slope[axis] == 1 || IsSymbol(slope[axis]) || IsSymbol(extent) || slope[axis] == extent;
  }
  if (!fits) {
    return context.Error("the slope has shape " + ToString(slope) +
                         ", which does not broadcast to " + ToString(x));
  }
  context.SetOutput(0, context.inputs[0].dtype, x);
  return OkStatus();
}

constexpr OpDef PReluOp() {
  OpDef op = BinaryOp("PRelu", SignedTypes{},
                      [](auto x, auto slope) { return x < 0 ? WrapMul(x, slope) : x; });
  op.infer = InferPRelu;
  return op;
}

}  // namespace

const OpDef kAddOp = BinaryOp("Add", NumericTypes{}, [](auto a, auto b) { return WrapAdd(a, b); });
const OpDef kSubOp = BinaryOp("Sub", NumericTypes{}, [](auto a, auto b) { return WrapSub(a, b); });
const OpDef kMulOp = BinaryOp("Mul", NumericTypes{}, [](auto a, auto b) { return WrapMul(a, b); });
const OpDef kDivOp = BinaryOp("Div", NumericTypes{}, Divide{});
const OpDef kModOp = ModOp();
const OpDef kPowOp = {.name = "Pow",
                      .min_inputs = 2,
                      .max_inputs = 2,
                      .min_outputs = 1,
                      .max_outputs = 1,
                      .attributes = {},
                      .infer = InferPow,
                      .run = RunPow};
const OpDef kPReluOp = PReluOp();

}  // namespace verdict
