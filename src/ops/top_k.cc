#include "ops/axes.h"
#include "ops/dispatch.h"
#include "ops/extents.h"
#include "ops/list.h"

namespace verdict {
namespace {

Status Infer(InferContext& context) {
  VERDICT_RETURN_IF_ERROR(RequireType(context, 0, NumericTypes{}));
  VERDICT_RETURN_IF_ERROR(RequireInts(context, 1));
  const TensorView& k = context.inputs[1];
  if (!k.shape.IsStatic() || k.size() != 1) {
    return context.Error(InputText(context, 1, "K") + ", needs one element");
  }
  Shape output = context.inputs[0].shape;
  VERDICT_ASSIGN_OR_RETURN(
      const int axis, NormalizeAxis(context, context.attributes().Int("axis", -1), output.rank()));
  if (k.data == nullptr) {
    output[axis] = context.UnknownDim();
  } else {
    const int64_t count = IntElement(k, 0);
    if (count < 0 || (!IsSymbol(output[axis]) && count > output[axis])) {
      return context.Error("K is " + std::to_string(count) + ", but axis " + std::to_string(axis) +
                           " of the input has shape " + ShapeText(context, output));
    }
    output[axis] = count;
  }
  context.SetOutput(0, context.inputs[0].dtype, output);
  context.SetOutput(1, DataType::kInt64, output);
  return OkStatus();
}

/// Puts each element where it belongs among the best so far, which are the outputs themselves. Of
/// equal elements the one with the lower index is better; the outputs are always sorted. NaN counts
/// as larger than every number.
template <typename T>
void Select(const T* x, int64_t extent, int64_t step, bool largest, T* values, int64_t* indices,
            int64_t k) {
  const auto is_greater = [](T a, T b) { return a > b || (a != a && b == b); };
  const auto better = [&](T a, T b) { return largest ? is_greater(a, b) : is_greater(b, a); };
  int64_t found = 0;
  for (int64_t i = 0; i < extent; ++i) {
    const T candidate = x[i * step];
    if (found == k && !better(candidate, values[(k - 1) * step])) continue;
    int64_t place = found < k ? found++ : k - 1;
    for (; place > 0 && better(candidate, values[(place - 1) * step]); --place) {
      values[place * step] = values[(place - 1) * step];
      indices[place * step] = indices[(place - 1) * step];
    }
    values[place * step] = candidate;
    indices[place * step] = i;
  }
}

Status Run(KernelContext& context) {
  const TensorView& x = context.inputs[0];
  const AttributeReader attributes = context.attributes();
  VERDICT_ASSIGN_OR_RETURN(const int axis,
                           NormalizeAxis(context, attributes.Int("axis", -1), x.shape.rank()));
  const bool largest = attributes.Int("largest", 1) != 0;
  const AxisSplit split = SplitAt(x.shape, axis);
  const int64_t k = context.outputs[0].shape[axis];
  if (k == 0) return OkStatus();
  if (k > split.extent) return context.Error("K is larger than the extent of the axis");
  return Dispatch(NumericTypes{}, x.dtype, [&]<typename T>(T) {
    for (int64_t i = 0; i < split.outer * split.inner; ++i) {
      const int64_t outer = i / split.inner;
      const int64_t inner = i % split.inner;
      const int64_t to = outer * k * split.inner + inner;
      Select(context.in<T>(0).data() + outer * split.extent * split.inner + inner, split.extent,
             split.inner, largest, context.out<T>(0).data() + to,
             context.out<int64_t>(1).data() + to, k);
    }
    return OkStatus();
  });
}

constexpr AttributeSpec kAttributes[] = {{"axis", AttributeType::kInt},
                                         {"largest", AttributeType::kInt},
                                         {"sorted", AttributeType::kInt}};

}  // namespace

const OpDef kTopKOp = {.name = "TopK",
                       .min_inputs = 2,
                       .max_inputs = 2,
                       .min_outputs = 2,
                       .max_outputs = 2,
                       .attributes = kAttributes,
                       .infer = Infer,
                       .run = Run};

}  // namespace verdict
