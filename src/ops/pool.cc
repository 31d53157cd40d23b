#include <algorithm>
#include <limits>

#include "ops/dispatch.h"
#include "ops/extents.h"
#include "ops/list.h"
#include "ops/window.h"

namespace verdict {
namespace {

constexpr AttributeSpec kMaxAttributes[] = {
    {"auto_pad", AttributeType::kString}, {"ceil_mode", AttributeType::kInt},
    {"dilations", AttributeType::kInts},  {"kernel_shape", AttributeType::kInts, true},
    {"pads", AttributeType::kInts},       {"storage_order", AttributeType::kInt},
    {"strides", AttributeType::kInts}};

constexpr AttributeSpec kAverageAttributes[] = {{"auto_pad", AttributeType::kString},
                                                {"ceil_mode", AttributeType::kInt},
                                                {"count_include_pad", AttributeType::kInt},
                                                {"dilations", AttributeType::kInts},
                                                {"kernel_shape", AttributeType::kInts, true},
                                                {"pads", AttributeType::kInts},
                                                {"strides", AttributeType::kInts}};

Status Infer(InferContext& context) {
  if (context.outputs.size() > 1 && context.node.outputs[1] != kNoValue) {
    return Unimplemented(Graph::Describe(context.node) +
                         ": the output Indices is not supported; export without it");
  }
  VERDICT_RETURN_IF_ERROR(RequireType(context, 0, FloatTypes{}));
  VERDICT_RETURN_IF_ERROR(RequireRank(context, 0, "X", 3));
  const TensorView& x = context.inputs[0];
  if (x.shape.rank() > 4) {
    return Unimplemented(Graph::Describe(context.node) + ": " + InputText(context, 0, "X") +
                         "; pools over one and two axes are supported");
  }
  const auto kernel = context.attributes().Ints("kernel_shape");
  if (kernel.size() != static_cast<size_t>(x.shape.rank() - 2)) {
    return context.Error("kernel_shape has " + std::to_string(kernel.size()) + " entries for " +
                         std::to_string(x.shape.rank() - 2) + " axes");
  }
  Window window;
  VERDICT_RETURN_IF_ERROR(ReadWindow(context, kernel, x.shape, &window));
  context.SetOutput(0, x.dtype, WindowOutput(x.shape[0], x.shape[1], window, kernel.size()));
  return OkStatus();
}

/// Calls fn(value) for each input under output (oy, ox).
template <typename T, typename Fn>
void ForEachUnder(const Window& window, const T* x, int64_t oy, int64_t ox, Fn&& fn) {
  const auto& [vertical, horizontal] = window;
  for (int64_t ky = 0; ky < vertical.kernel; ++ky) {
    const int64_t iy = vertical.Position(oy, ky);
    if (iy < 0 || iy >= vertical.input) continue;
    for (int64_t kx = 0; kx < horizontal.kernel; ++kx) {
      const int64_t ix = horizontal.Position(ox, kx);
      if (ix >= 0 && ix < horizontal.input) fn(x[iy * horizontal.input + ix]);
    }
  }
}

/// Passes over NaN, as ONNX Runtime does.
template <typename T>
T MaxUnder(const Window& window, const T* x, int64_t oy, int64_t ox) {
  T max = -std::numeric_limits<T>::infinity();
  ForEachUnder(window, x, oy, ox, [&](T value) {
    if (value > max) max = value;
  });
  return max;
}

/// Elements of a window that lie within the input and its padding (past which ceil_mode may go).
int64_t CountPadded(const WindowAxis& axis, int64_t o) {
  int64_t count = 0;
  for (int64_t k = 0; k < axis.kernel; ++k) {
    if (axis.Position(o, k) < axis.input + axis.pad_end) ++count;
  }
  return count;
}

template <typename T>
T AverageUnder(const Window& window, const T* x, int64_t oy, int64_t ox, bool counts_padding) {
  T sum = 0;
  int64_t count = 0;
  ForEachUnder(window, x, oy, ox, [&](T value) {
    sum += value;
    ++count;
  });
  if (counts_padding) count = CountPadded(window[0], oy) * CountPadded(window[1], ox);
  return count == 0 ? T(0) : sum / static_cast<T>(count);
}

template <bool kMax>
Status Run(KernelContext& context) {
  const Shape& shape = context.inputs[0].shape;
  const Window window = ReadWindow(context, context.attributes().Ints("kernel_shape"), shape);
  const bool counts_padding = context.attributes().Int("count_include_pad", 0) != 0;
  const int64_t x_size = window[0].input * window[1].input;
  const int64_t y_size = window[0].output * window[1].output;
  return Dispatch(FloatTypes{}, context.outputs[0].dtype, [&](auto zero) {
    using T = decltype(zero);
    for (int64_t plane = 0; plane < shape[0] * shape[1]; ++plane) {
      const T* x = context.in<T>(0).data() + plane * x_size;
      T* y = context.out<T>(0).data() + plane * y_size;
      for (int64_t oy = 0; oy < window[0].output; ++oy) {
        for (int64_t ox = 0; ox < window[1].output; ++ox) {
          *y++ =
              kMax ? MaxUnder(window, x, oy, ox) : AverageUnder(window, x, oy, ox, counts_padding);
        }
      }
    }
    return OkStatus();
  });
}

Status InferGlobal(InferContext& context) {
  VERDICT_RETURN_IF_ERROR(RequireType(context, 0, FloatTypes{}));
  VERDICT_RETURN_IF_ERROR(RequireRank(context, 0, "X", 3));
  Shape output = context.inputs[0].shape;
  for (int axis = 2; axis < output.rank(); ++axis) {
    if (output[axis] == 0) return context.Error(InputText(context, 0, "X") + ", which is empty");
    output[axis] = 1;
  }
  context.SetOutput(0, context.inputs[0].dtype, output);
  return OkStatus();
}

template <bool kMax>
Status RunGlobal(KernelContext& context) {
  return Dispatch(FloatTypes{}, context.outputs[0].dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto x = context.in<T>(0);
    const auto y = context.out<T>(0);
    const size_t size = y.empty() ? 0 : x.size() / y.size();
    for (size_t plane = 0; plane < y.size(); ++plane) {
      const auto values = x.subspan(plane * size, size);
      if constexpr (kMax) {
        y[plane] = *std::ranges::max_element(values);
      } else {
        double sum = 0;
        for (T value : values) sum += value;
        y[plane] = static_cast<T>(sum / static_cast<double>(size));
      }
    }
    return OkStatus();
  });
}

}  // namespace

const OpDef kMaxPoolOp = {.name = "MaxPool",
                          .min_inputs = 1,
                          .max_inputs = 1,
                          .min_outputs = 1,
                          .max_outputs = 2,
                          .attributes = kMaxAttributes,
                          .infer = Infer,
                          .run = Run<true>};

const OpDef kAveragePoolOp = {.name = "AveragePool",
                              .min_inputs = 1,
                              .max_inputs = 1,
                              .min_outputs = 1,
                              .max_outputs = 1,
                              .attributes = kAverageAttributes,
                              .infer = Infer,
                              .run = Run<false>};

const OpDef kGlobalMaxPoolOp = {.name = "GlobalMaxPool",
                                .min_inputs = 1,
                                .max_inputs = 1,
                                .min_outputs = 1,
                                .max_outputs = 1,
                                .attributes = {},
                                .infer = InferGlobal,
                                .run = RunGlobal<true>};

const OpDef kGlobalAveragePoolOp = {.name = "GlobalAveragePool",
                                    .min_inputs = 1,
                                    .max_inputs = 1,
                                    .min_outputs = 1,
                                    .max_outputs = 1,
                                    .attributes = {},
                                    .infer = InferGlobal,
                                    .run = RunGlobal<false>};

}  // namespace verdict
