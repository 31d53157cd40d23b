#include <cmath>
#include <limits>

#include "ops/axes.h"
#include "ops/dispatch.h"
#include "ops/list.h"
#include "ops/strided.h"
#include "ops/wrapping.h"

namespace verdict {
namespace {

/// Sums of floats are kept in double, in the order of the elements; integers wrap.
template <typename T>
using SumType = std::conditional_t<std::is_floating_point_v<T>, double, T>;

// A reduction is: the accumulator of nothing, adding an element to it, and the result after
// `count` elements.

struct Sum {
  template <typename T>
  static SumType<T> Begin() {
    return 0;
  }
  template <typename T>
  static SumType<T> Add(SumType<T> sum, T x) {
    return WrapAdd<SumType<T>>(sum, x);
  }
  template <typename T>
  static T End(SumType<T> sum, int64_t) {
    return static_cast<T>(sum);
  }
};

struct Mean : Sum {
  template <typename T>
  static T End(SumType<T> sum, int64_t count) {
    return static_cast<T>(sum / static_cast<SumType<T>>(count));
  }
};

struct SumSquare : Sum {
  template <typename T>
  static SumType<T> Add(SumType<T> sum, T x) {
    const auto wide = static_cast<SumType<T>>(x);
    return WrapAdd<SumType<T>>(sum, WrapMul(wide, wide));
  }
};

struct L1 : Sum {
  template <typename T>
  static SumType<T> Add(SumType<T> sum, T x) {
    const auto wide = static_cast<SumType<T>>(x);
    return x < 0 ? WrapSub<SumType<T>>(sum, wide) : WrapAdd<SumType<T>>(sum, wide);
  }
};

struct L2 : SumSquare {
  template <typename T>
  static T End(SumType<T> sum, int64_t) {
    return static_cast<T>(std::sqrt(sum));
  }
};

struct LogSum : Sum {
  template <typename T>
  static T End(SumType<T> sum, int64_t) {
    return static_cast<T>(std::log(sum));
  }
};

struct Prod {
  template <typename T>
  static SumType<T> Begin() {
    return 1;
  }
  template <typename T>
  static SumType<T> Add(SumType<T> product, T x) {
    return WrapMul<SumType<T>>(product, x);
  }
  template <typename T>
  static T End(SumType<T> product, int64_t) {
    return static_cast<T>(product);
  }
};

struct Max {
  template <typename T>
  static T Begin() {
    if constexpr (std::is_floating_point_v<T>) return -std::numeric_limits<T>::infinity();
    return std::numeric_limits<T>::lowest();
  }
  template <typename T>
  static T Add(T best, T x) {
    return MaxOf(best, x);
  }
  template <typename T>
  static T End(T best, int64_t) {
    return best;
  }
};

struct Min {
  template <typename T>
  static T Begin() {
    if constexpr (std::is_floating_point_v<T>) return std::numeric_limits<T>::infinity();
    return std::numeric_limits<T>::max();
  }
  template <typename T>
  static T Add(T best, T x) {
    return MinOf(best, x);
  }
  template <typename T>
  static T End(T best, int64_t) {
    return best;
  }
};

using ReduceTypes = Types<float, double, int32_t, int64_t>;
using OrderTypes = Types<float, double, int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t,
                         uint32_t, uint64_t, bool>;

/// The axes to reduce: all if none are named, unless noop_with_empty_axes says none.
template <typename Context>
Result<AxisSet> ReducedAxes(const Context& context) {
  const int rank = context.inputs[0].shape.rank();
  if (context.has_input(1) && Length(context.inputs[1]) != 0) {
    return NormalizeAxes(context, context.inputs[1], rank);
  }
  if (context.attributes().Int("noop_with_empty_axes", 0) != 0) return AxisSet{0};
  return (AxisSet{1} << rank) - 1;
}

template <typename TypeList>
Status Infer(InferContext& context) {
  VERDICT_RETURN_IF_ERROR(RequireType(context, 0, TypeList{}));
  const TensorView& x = context.inputs[0];
  const bool keep = context.attributes().Int("keepdims", 1) != 0;
  bool known = true;
  if (context.has_input(1)) {
    VERDICT_RETURN_IF_ERROR(RequireIntList(context, 1));
    known = context.inputs[1].data != nullptr || Length(context.inputs[1]) == 0;
  }
  if (!known && !keep) {
    return Unimplemented(Graph::Describe(context.node) + ": the axes depend on the data");
  }
  AxisSet axes = 0;
  if (known) {
    VERDICT_ASSIGN_OR_RETURN(axes, ReducedAxes(context));
  }
  Shape output;
  for (int axis = 0; axis < x.shape.rank(); ++axis) {
    if (!known) {
      output.push_back(context.UnknownDim());
    } else if (!HasAxis(axes, axis)) {
      output.push_back(x.shape[axis]);
    } else if (keep) {
      output.push_back(1);
    }
  }
  context.SetOutput(0, x.dtype, output);
  return OkStatus();
}

/// The elements of a tensor as an outer walk over the axes that stay and an inner one over those
/// that are reduced.
struct Walks {
  StridedWalk<1> kept;
  StridedWalk<1> reduced;
  int64_t count;  // elements reduced into one
};

Walks MakeWalks(const Shape& shape, AxisSet axes) {
  Shape kept = shape;
  Shape reduced = shape;
  int64_t count = 1;
  for (int axis = 0; axis < shape.rank(); ++axis) {
    (HasAxis(axes, axis) ? kept : reduced)[axis] = 1;
    count *= reduced[axis];
  }
  const Strides strides = DenseStrides(shape);
  return {{kept, {strides}}, {reduced, {strides}}, count};
}

/// Calls function(x), x a pointer to the first element, for each output element in order.
template <typename T, typename F>
Status ForEachOutput(const KernelContext& context, const Walks& walks, F&& function) {
  const auto* x = static_cast<const T*>(context.inputs[0].data);
  T* y = static_cast<T*>(context.outputs[0].data);
  walks.kept.ForEach([&](const auto& offsets) { *y++ = function(x + offsets[0]); });
  return OkStatus();
}

/// Calls function(element) for each reduced element in order.
template <typename T, typename F>
void ForEachReduced(const Walks& walks, const T* x, F&& function) {
  const int64_t n = walks.reduced.row_size();
  const int64_t step = walks.reduced.row_strides()[0];
  walks.reduced.ForEachRow([&](const auto& offsets) {
    const T* row = x + offsets[0];
    for (int64_t i = 0; i < n; ++i) function(row[i * step]);
  });
}

template <typename TypeList, typename R>
Status Run(KernelContext& context) {
  VERDICT_ASSIGN_OR_RETURN(const AxisSet axes, ReducedAxes(context));
  const Walks walks = MakeWalks(context.inputs[0].shape, axes);
  return Dispatch(TypeList{}, context.inputs[0].dtype, [&]<typename T>(T) {
    if constexpr (std::is_same_v<R, Mean> && std::is_integral_v<T>) {
      if (walks.count == 0) return context.Error("the mean of no integers is not defined");
    }
    return ForEachOutput<T>(context, walks, [&](const T* x) {
      auto accumulator = R::template Begin<T>();
      ForEachReduced(walks, x,
                     [&](T element) { accumulator = R::template Add<T>(accumulator, element); });
      return R::template End<T>(accumulator, walks.count);
    });
  });
}

/// log(sum(exp(x))), with the largest element taken out of the sum so that nothing overflows.
Status RunLogSumExp(KernelContext& context) {
  VERDICT_ASSIGN_OR_RETURN(const AxisSet axes, ReducedAxes(context));
  const Walks walks = MakeWalks(context.inputs[0].shape, axes);
  return Dispatch(FloatTypes{}, context.inputs[0].dtype, [&]<typename T>(T) {
    return ForEachOutput<T>(context, walks, [&](const T* x) {
      T largest = Max::Begin<T>();
      ForEachReduced(walks, x, [&](T element) { largest = MaxOf(largest, element); });
      if (!std::isfinite(largest)) return largest;
      double sum = 0;
      ForEachReduced(walks, x, [&](T element) {
        sum += std::exp(static_cast<double>(element) - static_cast<double>(largest));
      });
      return static_cast<T>(static_cast<double>(largest) + std::log(sum));
    });
  });
}

constexpr AttributeSpec kAttributes[] = {{"keepdims", AttributeType::kInt},
                                         {"noop_with_empty_axes", AttributeType::kInt}};

template <typename TypeList>
constexpr OpDef ReduceOp(std::string_view name, TypeList, Status (*run)(KernelContext&)) {
  return {.name = name,
          .min_inputs = 1,
          .max_inputs = 2,
          .min_outputs = 1,
          .max_outputs = 1,
          .attributes = kAttributes,
          .infer = Infer<TypeList>,
          .run = run};
}

template <typename TypeList, typename R>
constexpr OpDef ReduceOp(std::string_view name, TypeList types, R) {
  return ReduceOp(name, types, Run<TypeList, R>);
}

}  // namespace

const OpDef kReduceSumOp = ReduceOp("ReduceSum", ReduceTypes{}, Sum{});
const OpDef kReduceMeanOp = ReduceOp("ReduceMean", ReduceTypes{}, Mean{});
const OpDef kReduceSumSquareOp = ReduceOp("ReduceSumSquare", ReduceTypes{}, SumSquare{});
const OpDef kReduceL1Op = ReduceOp("ReduceL1", ReduceTypes{}, L1{});
const OpDef kReduceL2Op = ReduceOp("ReduceL2", FloatTypes{}, L2{});
const OpDef kReduceLogSumOp = ReduceOp("ReduceLogSum", FloatTypes{}, LogSum{});
const OpDef kReduceLogSumExpOp = ReduceOp("ReduceLogSumExp", FloatTypes{}, RunLogSumExp);
const OpDef kReduceProdOp = ReduceOp("ReduceProd", ReduceTypes{}, Prod{});
const OpDef kReduceMaxOp = ReduceOp("ReduceMax", OrderTypes{}, Max{});
const OpDef kReduceMinOp = ReduceOp("ReduceMin", OrderTypes{}, Min{});

}  // namespace verdict
