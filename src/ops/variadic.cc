#include "ops/elementwise.h"
#include "ops/list.h"
#include "ops/wrapping.h"

namespace verdict {
namespace {

/// Folds the inputs into the output one after the other: out = f(out, input).
template <typename TypeList, typename F, bool kMean>
Status RunVariadic(KernelContext& context) {
  const TensorView& out = context.outputs[0];
  const TensorView& first = context.inputs[0];
  const size_t element_size = ElementSize(out.dtype);
  CopyStrided({out.shape, {DenseStrides(out.shape), BroadcastStrides(first.shape, out.shape)}},
              out.data, first.data, element_size);
  return Dispatch(TypeList{}, out.dtype, [&]<typename T>(T) {
    F function{};
    for (size_t i = 1; i < context.inputs.size(); ++i) {
      BroadcastApply<T, T, T>(out, out, context.inputs[i], function);
    }
    if constexpr (kMean) {
      const auto count = static_cast<T>(context.inputs.size());
      for (T& value : context.out<T>(0)) value /= count;
    }
    return OkStatus();
  });
}

template <bool kMean = false, typename TypeList, typename F>
constexpr OpDef VariadicOp(std::string_view name, TypeList, F) {
  return {.name = name,
          .min_inputs = 1,
          .max_inputs = kVariadic,
          .min_outputs = 1,
          .max_outputs = 1,
          .attributes = {},
          .infer = InferBinary<TypeList, false>,
          .run = RunVariadic<TypeList, F, kMean>};
}

}  // namespace

const OpDef kMinOp = VariadicOp("Min", NumericTypes{}, [](auto a, auto b) { return MinOf(a, b); });
const OpDef kMaxOp = VariadicOp("Max", NumericTypes{}, [](auto a, auto b) { return MaxOf(a, b); });
const OpDef kSumOp = VariadicOp("Sum", FloatTypes{}, [](auto a, auto b) { return a + b; });
const OpDef kMeanOp = VariadicOp<true>("Mean", FloatTypes{}, [](auto a, auto b) { return a + b; });

}  // namespace verdict
