#pragma once

#include "ops/broadcast.h"
#include "ops/dispatch.h"
#include "ops/strided.h"

namespace verdict {

// Templates for families of elementwise operators. F is the scalar function: a captureless lambda,
// or a struct made from the node's attributes. A function that can fail (integer division) has a
// member `const char* error`, null as long as nothing is wrong.

template <typename F>
F MakeFunction(const KernelContext& context) {
  if constexpr (std::is_constructible_v<F, AttributeReader>) {
    return F(context.attributes());
  } else {
    return F{};
  }
}

template <typename T>
Status InferUnary(InferContext& context) {
  VERDICT_RETURN_IF_ERROR(RequireType(context, 0, T{}));
  context.SetOutput(0, context.inputs[0].dtype, context.inputs[0].shape);
  return OkStatus();
}

template <typename TypeList, typename F>
Status RunUnary(KernelContext& context) {
  return Dispatch(TypeList{}, context.inputs[0].dtype, [&]<typename T>(T) {
    const F function = MakeFunction<F>(context);
    const auto x = context.in<T>(0);
    const auto y = context.out<T>(0);
    for (size_t i = 0; i < x.size(); ++i) y[i] = static_cast<T>(function(x[i]));
    return OkStatus();
  });
}

/// One input, one output of its type and shape.
template <typename TypeList, typename F>
constexpr OpDef UnaryOp(std::string_view name, TypeList, F,
                        std::span<const AttributeSpec> attributes = {}) {
  return {.name = name,
          .min_inputs = 1,
          .max_inputs = 1,
          .min_outputs = 1,
          .max_outputs = 1,
          .attributes = attributes,
          .infer = InferUnary<TypeList>,
          .run = RunUnary<TypeList, F>};
}

/// out[i] = function(a[i], b[i]) with broadcasting; `out` may be `a` where their shapes are equal.
template <typename Out, typename A, typename B, typename F>
void BroadcastApply(const TensorView& out, const TensorView& a, const TensorView& b, F& function) {
  const StridedWalk<3> walk(out.shape,
                            {DenseStrides(out.shape), BroadcastStrides(a.shape, out.shape),
                             BroadcastStrides(b.shape, out.shape)});
  const int64_t n = walk.row_size();
  const int64_t a_step = walk.row_strides()[1];
  const int64_t b_step = walk.row_strides()[2];
  walk.ForEachRow([&](const auto& offsets) {
    Out* z = static_cast<Out*>(out.data) + offsets[0];
    const A* x = static_cast<const A*>(a.data) + offsets[1];
    const B* y = static_cast<const B*>(b.data) + offsets[2];
    if (a_step == 1 && b_step == 1) {
      for (int64_t i = 0; i < n; ++i) z[i] = function(x[i], y[i]);
    } else if (b_step == 0) {
      const B right = *y;
      for (int64_t i = 0; i < n; ++i) z[i] = function(x[i * a_step], right);
    } else {
      const A left = *x;
      for (int64_t i = 0; i < n; ++i) z[i] = function(left, y[i * b_step]);
    }
  });
}

/// Type rule: both inputs one type of the list. The output has that type, or is bool.
template <typename TypeList, bool kToBool>
Status InferBinary(InferContext& context) {
  VERDICT_RETURN_IF_ERROR(RequireSameTypes(context, TypeList{}));
  Shape shape;
  VERDICT_RETURN_IF_ERROR(BroadcastInputs(context, &shape));
  context.SetOutput(0, kToBool ? DataType::kBool : context.inputs[0].dtype, shape);
  return OkStatus();
}

template <typename TypeList, bool kToBool, typename F>
Status RunBinary(KernelContext& context) {
  return Dispatch(TypeList{}, context.inputs[0].dtype, [&]<typename T>(T) {
    F function = MakeFunction<F>(context);
    BroadcastApply<std::conditional_t<kToBool, bool, T>, T, T>(
        context.outputs[0], context.inputs[0], context.inputs[1], function);
    if constexpr (requires { function.error; }) {
      if (function.error != nullptr) return context.Error(function.error);
    }
    return OkStatus();
  });
}

template <bool kToBool, typename TypeList, typename F>
constexpr OpDef BroadcastOp(std::string_view name, std::span<const AttributeSpec> attributes) {
  return {.name = name,
          .min_inputs = 2,
          .max_inputs = 2,
          .min_outputs = 1,
          .max_outputs = 1,
          .attributes = attributes,
          .infer = InferBinary<TypeList, kToBool>,
          .run = RunBinary<TypeList, kToBool, F>};
}

/// Two inputs of one type that broadcast; the output has their type.
template <typename TypeList, typename F>
constexpr OpDef BinaryOp(std::string_view name, TypeList, F,
                         std::span<const AttributeSpec> attributes = {}) {
  return BroadcastOp<false, TypeList, F>(name, attributes);
}

/// Two inputs of one type that broadcast; the output is bool.
template <typename TypeList, typename F>
constexpr OpDef CompareOp(std::string_view name, TypeList, F) {
  return BroadcastOp<true, TypeList, F>(name, {});
}

}  // namespace verdict
