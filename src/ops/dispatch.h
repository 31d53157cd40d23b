#pragma once

#include <string>
#include <type_traits>

#include "ops/op.h"

namespace verdict {

/// A list of element types an operator works on.
template <typename... Ts>
struct Types {};

using FloatTypes = Types<float, double>;
using SignedTypes = Types<float, double, int8_t, int16_t, int32_t, int64_t>;
using IntegerTypes =
    Types<int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t>;
using NumericTypes =
    Types<float, double, int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t>;
using IndexTypes = Types<int32_t, int64_t>;

template <typename... Ts>
constexpr bool HoldsType(Types<Ts...>, DataType dtype) {
  return ((kDataTypeOf<Ts> == dtype) || ...);
}

/// Calls function(T{}) for the T of the list that `dtype` stands for and returns its Status. The
/// shape rule has refused other types (RequireType), so that one here is our bug.
template <typename... Ts, typename F>
Status Dispatch(Types<Ts...>, DataType dtype, F&& function) {
  Status status;
  const bool found = ((kDataTypeOf<Ts> == dtype && (status = function(Ts{}), true)) || ...);
  VERDICT_CHECK(found);
  return status;
}

/// kUnimplemented: this input's type is not supported.
Status UnsupportedType(const InferContext& context, size_t input);

/// Error unless the input's type is on the list.
template <typename... Ts>
Status RequireType(const InferContext& context, size_t input, Types<Ts...> types) {
  if (HoldsType(types, context.inputs[input].dtype)) return OkStatus();
  return UnsupportedType(context, input);
}

/// Error unless both inputs have one type.
Status RequireSameType(const InferContext& context, size_t input, size_t other);

/// Error unless all inputs have one type, which is on the list.
template <typename... Ts>
Status RequireSameTypes(const InferContext& context, Types<Ts...> types) {
  VERDICT_RETURN_IF_ERROR(RequireType(context, 0, types));
  for (size_t i = 1; i < context.inputs.size(); ++i) {
    VERDICT_RETURN_IF_ERROR(RequireSameType(context, 0, i));
  }
  return OkStatus();
}

}  // namespace verdict
