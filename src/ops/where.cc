#include <cstring>

#include "ops/broadcast.h"
#include "ops/dispatch.h"
#include "ops/list.h"
#include "ops/strided.h"

namespace verdict {
namespace {

Status Infer(InferContext& context) {
  VERDICT_RETURN_IF_ERROR(RequireType(context, 0, Types<bool>{}));
  VERDICT_RETURN_IF_ERROR(RequireSameType(context, 1, 2));
  Shape shape;
  VERDICT_RETURN_IF_ERROR(BroadcastInputs(context, &shape));
  context.SetOutput(0, context.inputs[1].dtype, shape);
  return OkStatus();
}

template <size_t kSize>
void Select(KernelContext& context) {
  const TensorView& out = context.outputs[0];
  const auto strides = [&](size_t i) {
    return BroadcastStrides(context.inputs[i].shape, out.shape);
  };
  const StridedWalk<4> walk(out.shape,
                            {DenseStrides(out.shape), strides(0), strides(1), strides(2)});
  const auto* condition = static_cast<const bool*>(context.inputs[0].data);
  walk.ForEach([&](const auto& offsets) {
    const bool first = condition[offsets[1]];
    std::memcpy(ElementAt(out.data, offsets[0], kSize),
                ElementAt(static_cast<const void*>(context.inputs[first ? 1 : 2].data),
                          offsets[first ? 2 : 3], kSize),
                kSize);
  });
}

Status Run(KernelContext& context) {
  switch (ElementSize(context.outputs[0].dtype)) {
    case 1:
      Select<1>(context);
      break;
    case 2:
      Select<2>(context);
      break;
    case 4:
      Select<4>(context);
      break;
    case 8:
      Select<8>(context);
      break;
    default:
      Select<sizeof(std::string_view)>(context);
      break;
  }
  return OkStatus();
}

}  // namespace

const OpDef kWhereOp = {.name = "Where",
                        .min_inputs = 3,
                        .max_inputs = 3,
                        .min_outputs = 1,
                        .max_outputs = 1,
                        .attributes = {},
                        .infer = Infer,
                        .run = Run};

}  // namespace verdict
