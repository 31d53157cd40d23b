#include <algorithm>
#include <string>

#include "base/checked_math.h"
#include "ops/axes.h"
#include "ops/broadcast.h"
#include "ops/list.h"
#include "ops/strided.h"
#include "ops/target_shape.h"

namespace verdict {
namespace {

/// The extents of input and output with what both share taken away: what is left of the input must
/// be what is left of the output, and -1 takes it up.
class Balance {
 public:
  /// Errors: the product of known extents overflows.
  Status Add(const InferContext& context, Dim dim) { return Multiply(context, dim, &in_); }

  Status Take(const InferContext& context, Dim dim) {
    if (IsSymbol(dim)) {
      const auto begin = symbols_.begin();
      const auto end = begin + num_symbols_;
      const auto it = std::find(begin, end, dim);
      if (it == end) {
        ++unmatched_;
      } else {
        *it = symbols_[static_cast<size_t>(--num_symbols_)];
      }
      return OkStatus();
    }
    return Multiply(context, dim, &out_);
  }

  /// The extent of -1; 0 extents have been dealt with.
  Result<Dim> Rest(const InferContext& context) const {
    if (unmatched_ > 0 || num_symbols_ > 1) return context.UnknownDim();
    if (num_symbols_ == 1) return in_ == out_ ? symbols_[0] : context.UnknownDim();
    if (out_ == 0 || in_ % out_ != 0) {
      return context.Error(std::to_string(in_) + " elements cannot be divided by " +
                           std::to_string(out_));
    }
    return in_ / out_;
  }

  /// False if the two sides are known to differ.
  bool Balanced() const { return num_symbols_ > 0 || unmatched_ > 0 || in_ == out_; }

 private:
  Status Multiply(const InferContext& context, Dim dim, int64_t* product) {
    if (IsSymbol(dim)) {
      symbols_[static_cast<size_t>(num_symbols_++)] = dim;
    } else if (!CheckedMul(*product, dim, product)) {
      return context.Error("the number of elements overflows 64 bits");
    }
    return OkStatus();
  }

  int64_t in_ = 1;
  int64_t out_ = 1;
  std::array<Dim, Shape::kMaxRank> symbols_{};
  int num_symbols_ = 0;
  int unmatched_ = 0;
};

Status InferReshape(InferContext& context) {
  const Shape& input = context.inputs[0].shape;
  int rank = 0;
  VERDICT_RETURN_IF_ERROR(TargetRank(context, 1, &rank));
  const bool allow_zero = context.attributes().Int("allowzero", 0) != 0;
  Balance balance;
  for (Dim dim : input.dims()) VERDICT_RETURN_IF_ERROR(balance.Add(context, dim));
  Shape output;
  int rest = -1;
  bool has_zero = false;
  for (int axis = 0; axis < rank; ++axis) {
    Dim dim = 0;
    VERDICT_RETURN_IF_ERROR(TargetDim(context, 1, axis, &dim));
    if (dim == kTargetRest) {
      if (rest >= 0) return context.Error("the target shape has more than one -1");
      rest = axis;
      output.push_back(1);
      continue;
    }
    if (dim == 0 && !allow_zero) {
      if (axis >= input.rank()) {
        return context.Error(
            "element " + std::to_string(axis) +
            " of the target shape is 0 (keep the extent), but the input has shape " +
            ToString(input));
      }
      dim = input[axis];
    }
    has_zero = has_zero || dim == 0;
    VERDICT_RETURN_IF_ERROR(balance.Take(context, dim));
    output.push_back(dim);
  }
  if (rest >= 0) {
    if (allow_zero && has_zero) {
      return context.Error("the target shape has both 0 and -1, which allowzero forbids");
    }
    VERDICT_ASSIGN_OR_RETURN(output[rest], balance.Rest(context));
  } else if (!balance.Balanced()) {
    return context.Error("an input of shape " + ToString(input) + " does not fit the target " +
                         ToString(output));
  }
  context.SetOutput(0, context.inputs[0].dtype, output);
  return OkStatus();
}

Status InferFlatten(InferContext& context) {
  const Shape& input = context.inputs[0].shape;
  int64_t axis = context.attributes().Int("axis", 1);
  if (axis != input.rank()) {
    VERDICT_ASSIGN_OR_RETURN(axis, NormalizeAxis(context, axis, input.rank()));
  }
  const auto dims = input.dims();
  VERDICT_ASSIGN_OR_RETURN(const Dim outer,
                           DimProduct(context, dims.first(static_cast<size_t>(axis))));
  VERDICT_ASSIGN_OR_RETURN(const Dim inner,
                           DimProduct(context, dims.subspan(static_cast<size_t>(axis))));
  context.SetOutput(0, context.inputs[0].dtype, Shape{outer, inner});
  return OkStatus();
}

/// The axes of Squeeze or Unsqueeze, which the shape rule must know.
Status ReadAxes(const InferContext& context, int rank, AxisSet* axes) {
  VERDICT_RETURN_IF_ERROR(RequireIntList(context, 1));
  if (context.inputs[1].data == nullptr && Length(context.inputs[1]) != 0) {
    return Unimplemented(Graph::Describe(context.node) + ": the axes depend on the data");
  }
  VERDICT_ASSIGN_OR_RETURN(*axes, NormalizeAxes(context, context.inputs[1], rank));
  return OkStatus();
}

Status InferSqueeze(InferContext& context) {
  const Shape& input = context.inputs[0].shape;
  AxisSet axes = 0;
  if (context.has_input(1)) {
    VERDICT_RETURN_IF_ERROR(ReadAxes(context, input.rank(), &axes));
  } else {
    for (int axis = 0; axis < input.rank(); ++axis) {
      if (input[axis] == 1) axes |= AxisSet{1} << axis;
    }
  }
  Shape output;
  for (int axis = 0; axis < input.rank(); ++axis) {
    if (!HasAxis(axes, axis)) {
      output.push_back(input[axis]);
    } else if (input[axis] != 1 && !IsSymbol(input[axis])) {
      return context.Error("axis " + std::to_string(axis) + " of shape " + ToString(input) +
                           " cannot be squeezed: its extent is not 1");
    }
  }
  context.SetOutput(0, context.inputs[0].dtype, output);
  return OkStatus();
}

Status InferUnsqueeze(InferContext& context) {
  const Shape& input = context.inputs[0].shape;
  VERDICT_RETURN_IF_ERROR(RequireIntList(context, 1));
  const Dim added = Length(context.inputs[1]);
  if (!IsSymbol(added) && added > Shape::kMaxRank - input.rank()) {
    return context.Error("the output would have more than " + std::to_string(Shape::kMaxRank) +
                         " axes");
  }
  const int rank = input.rank() + static_cast<int>(added);
  AxisSet axes = 0;
  VERDICT_RETURN_IF_ERROR(ReadAxes(context, rank, &axes));
  Shape output;
  int next = 0;
  for (int axis = 0; axis < rank; ++axis) {
    output.push_back(HasAxis(axes, axis) ? 1 : input[next++]);
  }
  context.SetOutput(0, context.inputs[0].dtype, output);
  return OkStatus();
}

Status Run(KernelContext& context) {
  const TensorView& x = context.inputs[0];
  CopyElements(context.outputs[0].data, x.data, x.size(), ElementSize(x.dtype));
  return OkStatus();
}

constexpr OpDef ViewOp(std::string_view name, int min_inputs, int max_inputs,
                       Status (*infer)(InferContext&),
                       std::span<const AttributeSpec> attributes = {}) {
  return {.name = name,
          .min_inputs = min_inputs,
          .max_inputs = max_inputs,
          .min_outputs = 1,
          .max_outputs = 1,
          .attributes = attributes,
          .infer = infer,
          .run = Run,
          .is_view = true};
}

constexpr AttributeSpec kReshapeAttributes[] = {{"allowzero", AttributeType::kInt}};
constexpr AttributeSpec kFlattenAttributes[] = {{"axis", AttributeType::kInt}};

}  // namespace

const OpDef kReshapeOp = ViewOp("Reshape", 2, 2, InferReshape, kReshapeAttributes);
const OpDef kFlattenOp = ViewOp("Flatten", 1, 1, InferFlatten, kFlattenAttributes);
const OpDef kSqueezeOp = ViewOp("Squeeze", 1, 2, InferSqueeze);
const OpDef kUnsqueezeOp = ViewOp("Unsqueeze", 2, 2, InferUnsqueeze);

}  // namespace verdict
