#include <algorithm>
#include <cmath>

#include "ops/axes.h"
#include "ops/dispatch.h"
#include "ops/list.h"

namespace verdict {
namespace {

constexpr AttributeSpec kAttributes[] = {{"axis", AttributeType::kInt}};

Status Infer(InferContext& context) {
  VERDICT_RETURN_IF_ERROR(RequireType(context, 0, FloatTypes{}));
  const TensorView& x = context.inputs[0];
  VERDICT_RETURN_IF_ERROR(
      NormalizeAxis(context, context.attributes().Int("axis", -1), x.shape.rank()).status());
  context.SetOutput(0, x.dtype, x.shape);
  return OkStatus();
}

/// One vector along the axis: element i is at data[i * stride].
template <typename T>
struct Line {
  const T* x;
  T* y;
  int64_t size;
  int64_t stride;
};

template <typename T>
T Max(const Line<T>& line) {
  T max = line.x[0];
  for (int64_t i = 1; i < line.size; ++i) max = std::max(max, line.x[i * line.stride]);
  return max;
}

struct SoftmaxLine {
  template <typename T>
  void operator()(const Line<T>& line) const {
    const T max = Max(line);
    T sum = 0;
    for (int64_t i = 0; i < line.size; ++i) {
      sum += line.y[i * line.stride] = std::exp(line.x[i * line.stride] - max);
    }
    for (int64_t i = 0; i < line.size; ++i) line.y[i * line.stride] /= sum;
  }
};

struct LogSoftmaxLine {
  template <typename T>
  void operator()(const Line<T>& line) const {
    const T max = Max(line);
    T sum = 0;
    for (int64_t i = 0; i < line.size; ++i) sum += std::exp(line.x[i * line.stride] - max);
    const T log_sum = std::log(sum);
    for (int64_t i = 0; i < line.size; ++i) {
      line.y[i * line.stride] = line.x[i * line.stride] - max - log_sum;
    }
  }
};

struct HardmaxLine {
  template <typename T>
  void operator()(const Line<T>& line) const {
    int64_t best = 0;
    for (int64_t i = 0; i < line.size; ++i) {
      if (line.x[i * line.stride] > line.x[best * line.stride]) best = i;
      line.y[i * line.stride] = T(0);
    }
    line.y[best * line.stride] = T(1);
  }
};

template <typename Function>
Status Run(KernelContext& context) {
  const TensorView& x = context.inputs[0];
  if (x.size() == 0) return OkStatus();
  const int axis =
      NormalizeAxis(context, context.attributes().Int("axis", -1), x.shape.rank()).value();
  const AxisSplit split = SplitAt(x.shape, axis);
  return Dispatch(FloatTypes{}, x.dtype, [&](auto zero) {
    using T = decltype(zero);
    for (int64_t outer = 0; outer < split.outer; ++outer) {
      for (int64_t inner = 0; inner < split.inner; ++inner) {
        const int64_t start = outer * split.extent * split.inner + inner;
        Function()(Line<T>{context.in<T>(0).data() + start, context.out<T>(0).data() + start,
                           split.extent, split.inner});
      }
    }
    return OkStatus();
  });
}

template <typename Function>
constexpr OpDef Make(std::string_view name) {
  return {.name = name,
          .min_inputs = 1,
          .max_inputs = 1,
          .min_outputs = 1,
          .max_outputs = 1,
          .attributes = kAttributes,
          .infer = Infer,
          .run = Run<Function>};
}

}  // namespace

const OpDef kSoftmaxOp = Make<SoftmaxLine>("Softmax");
const OpDef kLogSoftmaxOp = Make<LogSoftmaxLine>("LogSoftmax");
const OpDef kHardmaxOp = Make<HardmaxLine>("Hardmax");

}  // namespace verdict
