#include <algorithm>
#include <cstring>

#include "ops/dispatch.h"
#include "ops/extents.h"
#include "ops/list.h"

namespace verdict {
namespace {

using LabelTypes = Types<int64_t, float, double, std::string_view>;

enum Input : size_t { kX, kKeys, kValues, kDefault };

Status Infer(InferContext& context) {
  VERDICT_RETURN_IF_ERROR(RequireType(context, kX, LabelTypes{}));
  VERDICT_RETURN_IF_ERROR(RequireSameType(context, kX, kKeys));
  VERDICT_RETURN_IF_ERROR(RequireType(context, kValues, LabelTypes{}));
  VERDICT_RETURN_IF_ERROR(RequireSameType(context, kValues, kDefault));
  VERDICT_RETURN_IF_ERROR(RequireRank(context, kKeys, "keys", 1, 1));
  VERDICT_RETURN_IF_ERROR(RequireShape(context, kValues, "values", context.inputs[kKeys].shape));
  VERDICT_RETURN_IF_ERROR(RequireShape(context, kDefault, "default", {}));
  context.SetOutput(0, context.inputs[kValues].dtype, context.inputs[kX].shape);
  return OkStatus();
}

/// The order of keys: NaN comes last and equals NaN.
template <typename T>
bool Precedes(const T& a, const T& b) {
  return a < b || (a == a && b != b);
}

/// Keys are strictly ascending, so that the kernel may search by halves.
Status Verify(const Graph& graph, const Node& node) {
  const Constant* keys = graph.constant(node.inputs[kKeys]);
  if (keys == nullptr) {
    return InvalidArgument(Graph::Describe(node) + ": input 1 (keys) must be a constant");
  }
  const TensorView view = keys->view();
  if (!HoldsType(LabelTypes{}, view.dtype)) return OkStatus();  // the shape rule refuses it
  return Dispatch(LabelTypes{}, view.dtype, [&](auto zero) -> Status {
    using T = decltype(zero);
    const auto elements = view.as<const T>();
    for (size_t i = 1; i < elements.size(); ++i) {
      if (!Precedes(elements[i - 1], elements[i])) {
        return InvalidArgument(Graph::Describe(node) + ": keys[" + std::to_string(i) +
                               "] does not come after the key before it; keys must be sorted and "
                               "unique");
      }
    }
    return OkStatus();
  });
}

template <typename T>
void RunTyped(KernelContext& context) {
  const auto x = context.in<T>(kX);
  const auto keys = context.in<T>(kKeys);
  const size_t size = ElementSize(context.inputs[kValues].dtype);
  const auto* values = static_cast<const std::byte*>(context.inputs[kValues].data);
  auto* y = static_cast<std::byte*>(context.outputs[0].data);
  for (size_t i = 0; i < x.size(); ++i) {
    const auto key = std::lower_bound(keys.begin(), keys.end(), x[i], Precedes<T>);
    const bool found = key != keys.end() && !Precedes(x[i], *key);
    const void* value = context.inputs[kDefault].data;
    if (found) value = values + static_cast<size_t>(key - keys.begin()) * size;
    std::memcpy(y + i * size, value, size);
  }
}

Status Run(KernelContext& context) {
  return Dispatch(LabelTypes{}, context.inputs[kX].dtype, [&](auto zero) {
    RunTyped<decltype(zero)>(context);
    return OkStatus();
  });
}

}  // namespace

const OpDef kLabelEncoderOp = {.name = "LabelEncoder",
                               .min_inputs = 4,
                               .max_inputs = 4,
                               .min_outputs = 1,
                               .max_outputs = 1,
                               .attributes = {},
                               .infer = Infer,
                               .run = Run,
                               .verify = Verify};

}  // namespace verdict
