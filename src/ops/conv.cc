#include <algorithm>

#include "base/checked_math.h"
#include "ops/dispatch.h"
#include "ops/extents.h"
#include "ops/list.h"
#include "ops/window.h"

namespace verdict {
namespace {

constexpr AttributeSpec kAttributes[] = {
    {"auto_pad", AttributeType::kString}, {"dilations", AttributeType::kInts},
    {"group", AttributeType::kInt},       {"kernel_shape", AttributeType::kInts},
    {"pads", AttributeType::kInts},       {"strides", AttributeType::kInts}};

/// Extents of the window: W's axes after the channels.
std::span<const int64_t> KernelOf(const Shape& w) { return w.dims().subspan(2); }

Status Infer(InferContext& context) {
  VERDICT_RETURN_IF_ERROR(RequireSameTypes(context, FloatTypes{}));
  VERDICT_RETURN_IF_ERROR(RequireRank(context, 0, "X", 3));
  const Shape& x = context.inputs[0].shape;
  const Shape& w = context.inputs[1].shape;
  if (x.rank() > 4) {
    return Unimplemented(Graph::Describe(context.node) + ": " + InputText(context, 0, "X") +
                         "; convolutions over one and two axes are supported");
  }
  VERDICT_RETURN_IF_ERROR(RequireRank(context, 1, "W", x.rank(), x.rank()));
  if (!w.IsStatic()) {
    return Unimplemented(Graph::Describe(context.node) + ": the shape of W must be known");
  }
  const int64_t group = context.attributes().Int("group", 1);
  int64_t channels = 0;
  if (group < 1 || w[0] % group != 0 || !CheckedMul(w[1], group, &channels) ||
      !MayEqual(x[1], channels)) {
    return context.Error(InputText(context, 0, "X") + " and " + InputText(context, 1, "W") +
                         ": with " + std::to_string(group) +
                         " groups, X's channels must be W's second extent times that, and W's "
                         "first a multiple of it");
  }
  const auto kernel_shape = context.attributes().Ints("kernel_shape");
  if (!kernel_shape.empty() && !std::ranges::equal(kernel_shape, KernelOf(w))) {
    return context.Error("kernel_shape is not W's: " + InputText(context, 1, "W"));
  }
  if (context.has_input(2)) VERDICT_RETURN_IF_ERROR(RequireShape(context, 2, "B", {w[0]}));
  Window window;
  VERDICT_RETURN_IF_ERROR(ReadWindow(context, KernelOf(w), x, &window));
  context.SetOutput(0, context.inputs[0].dtype,
                    WindowOutput(x[0], w[0], window, KernelOf(w).size()));
  return OkStatus();
}

/// Adds one input channel's part to one output channel: each weight in turn to all outputs whose
/// window holds it.
template <typename T>
void AddChannel(const Window& window, const T* x, const T* w, T* y) {
  const auto& [vertical, horizontal] = window;
  for (int64_t ky = 0; ky < vertical.kernel; ++ky) {
    const auto [top, bottom] = vertical.OutputsWithin(ky);
    for (int64_t kx = 0; kx < horizontal.kernel; ++kx) {
      const auto [left, right] = horizontal.OutputsWithin(kx);
      const T weight = w[ky * horizontal.kernel + kx];
      for (int64_t oy = top; oy < bottom; ++oy) {
        const T* in = x + vertical.Position(oy, ky) * horizontal.input;
        T* out = y + oy * horizontal.output;
        for (int64_t ox = left; ox < right; ++ox)
          out[ox] += weight * in[horizontal.Position(ox, kx)];
      }
    }
  }
}

template <typename T>
void RunTyped(KernelContext& context) {
  const Shape& x_shape = context.inputs[0].shape;
  const Shape& w_shape = context.inputs[1].shape;
  const Window window = ReadWindow(context, KernelOf(w_shape), x_shape);
  const int64_t group_channels = w_shape[1];
  const int64_t group_outputs = w_shape[0] / context.attributes().Int("group", 1);
  const int64_t x_size = window[0].input * window[1].input;
  const int64_t w_size = window[0].kernel * window[1].kernel;
  const int64_t y_size = window[0].output * window[1].output;
  const T* x = context.in<T>(0).data();
  const T* w = context.in<T>(1).data();
  const T* bias = context.has_input(2) ? context.in<T>(2).data() : nullptr;
  T* y = context.out<T>(0).data();
  for (int64_t sample = 0; sample < x_shape[0]; ++sample) {
    for (int64_t m = 0; m < w_shape[0]; ++m) {
      std::fill_n(y, y_size, bias != nullptr ? bias[m] : T(0));
      const int64_t first = m / group_outputs * group_channels;
      for (int64_t c = 0; c < group_channels; ++c) {
        AddChannel(window, x + (sample * x_shape[1] + first + c) * x_size,
                   w + (m * group_channels + c) * w_size, y);
      }
      y += y_size;
    }
  }
}

Status Run(KernelContext& context) {
  return Dispatch(FloatTypes{}, context.outputs[0].dtype, [&](auto zero) {
    RunTyped<decltype(zero)>(context);
    return OkStatus();
  });
}

}  // namespace

const OpDef kConvOp = {.name = "Conv",
                       .min_inputs = 2,
                       .max_inputs = 3,
                       .min_outputs = 1,
                       .max_outputs = 1,
                       .attributes = kAttributes,
                       .infer = Infer,
                       .run = Run};

}  // namespace verdict
