#include <algorithm>

#include "backends/tensorrt/builders.h"
#include "ops/op.h"

namespace verdict::tensorrt {
namespace {

using nvinfer1::ElementWiseOperation;
using nvinfer1::UnaryOperation;

bool IsInt(DataType dtype) { return dtype == DataType::kInt32 || dtype == DataType::kInt64; }

/// f32, or integers that do not overflow differently.
Status SupportsArithmetic(const Graph& graph, const Node& node) {
  if (IsInt(InputType(graph, node, 0))) return RequireExactIntegers(graph, node);
  return RequireFloat32(graph, node);
}

Status SupportsAdd(const Graph& graph, const Node& node) {
  if (IsInt(InputType(graph, node, 0)) && OnlyIndexes(graph, node)) return OkStatus();
  return SupportsArithmetic(graph, node);
}

/// f32 or integers, which keep their values.
Status SupportsOrder(const Graph& graph, const Node& node) {
  const DataType dtype = InputType(graph, node, 0);
  if (dtype == DataType::kFloat32 || IsInt(dtype)) return OkStatus();
  return Decline("only f32, i32 and i64 are supported, not " + std::string(DataTypeName(dtype)));
}

Status SupportsEqual(const Graph& graph, const Node& node) {
  return InputType(graph, node, 0) == DataType::kBool ? OkStatus() : SupportsOrder(graph, node);
}

Status SupportsBools(const Graph&, const Node&) { return OkStatus(); }  // the shape rule is strict

/// Dividing an integer by zero is an error of ours, which a device does not raise: the divisor must
/// be known not to be 0, nor -1 (the least integer by -1).
Status SupportsIntDivisor(const Graph& graph, const Node& node) {
  VERDICT_RETURN_IF_ERROR(RequireExactIntegers(graph, node));
  VERDICT_ASSIGN_OR_RETURN(const std::vector<int64_t> divisor, IntConstant(graph, node, 1));
  const auto is_bad = [](int64_t value) { return value == 0 || value == -1; };
  return std::ranges::any_of(divisor, is_bad) ? Decline("a divisor of 0 or -1") : OkStatus();
}

Status SupportsDiv(const Graph& graph, const Node& node) {
  if (IsInt(InputType(graph, node, 0))) return SupportsIntDivisor(graph, node);
  return RequireFloat32(graph, node);
}

Status SupportsMod(const Graph& graph, const Node& node) {
  if (IsInt(InputType(graph, node, 0))) return SupportsIntDivisor(graph, node);
  return Decline("the exact remainder of floats");
}

Status SupportsPow(const Graph& graph, const Node& node) {
  if (InputType(graph, node, 0) != DataType::kFloat32) return Decline("powers of integers");
  return SupportsOrder(graph, node);
}

template <ElementWiseOperation kOperation>
Status Add(NetworkContext& context, const Node&) {
  VERDICT_ASSIGN_OR_RETURN(ITensor* const a, context.Input(0));
  VERDICT_ASSIGN_OR_RETURN(ITensor* const b, context.Input(1));
  return context.SetOutput(0, context.Elementwise(a, b, kOperation));
}

/// a - b * (a / b), the quotient cut towards zero (fmod) or rounded down.
Status AddMod(NetworkContext& context, const Node& node) {
  const bool fmod = AttributeReader(node).Int("fmod", 0) != 0;
  VERDICT_ASSIGN_OR_RETURN(ITensor* const a, context.Input(0));
  VERDICT_ASSIGN_OR_RETURN(ITensor* const b, context.Input(1));
  const auto operation = fmod ? ElementWiseOperation::kDIV : ElementWiseOperation::kFLOOR_DIV;
  VERDICT_ASSIGN_OR_RETURN(ITensor * multiple, context.Elementwise(a, b, operation));
  VERDICT_ASSIGN_OR_RETURN(multiple, context.Elementwise(multiple, b, ElementWiseOperation::kPROD));
  return context.SetOutput(0, context.Elementwise(a, multiple, ElementWiseOperation::kSUB));
}

/// Squares and cubes are products: TensorRT's power of a negative number is not said to be one.
Status AddPow(NetworkContext& context, const Node& node) {
  VERDICT_ASSIGN_OR_RETURN(ITensor* const x, context.Input(0));
  const Constant* exponent = context.graph().constant(node.inputs[1]);
  const bool same_shape =
      context.OutputShape(0).rank() == context.InputShape(0).rank();  // nothing broadcasts x
  if (exponent != nullptr && exponent->dtype == DataType::kFloat32 && same_shape &&
      exponent->view().size() == 1) {
    const float power = exponent->view().as<const float>()[0];
    if (power == 2 || power == 3) {
      VERDICT_ASSIGN_OR_RETURN(ITensor * product,
                               context.Elementwise(x, x, ElementWiseOperation::kPROD));
      if (power == 3) {
        VERDICT_ASSIGN_OR_RETURN(product,
                                 context.Elementwise(product, x, ElementWiseOperation::kPROD));
      }
      return context.SetOutput(0, product);
    }
  }
  VERDICT_ASSIGN_OR_RETURN(ITensor * y, context.Input(1));
  VERDICT_ASSIGN_OR_RETURN(y, context.Cast(y, Type::kFLOAT));
  return context.SetOutput(0, context.Elementwise(x, y, ElementWiseOperation::kPOW));
}

/// a > b or a == b, so that NaN gives false.
template <ElementWiseOperation kStrict>
Status AddOrEqual(NetworkContext& context, const Node&) {
  VERDICT_ASSIGN_OR_RETURN(ITensor* const a, context.Input(0));
  VERDICT_ASSIGN_OR_RETURN(ITensor* const b, context.Input(1));
  VERDICT_ASSIGN_OR_RETURN(ITensor* const strict, context.Elementwise(a, b, kStrict));
  VERDICT_ASSIGN_OR_RETURN(ITensor* const equal,
                           context.Elementwise(a, b, ElementWiseOperation::kEQUAL));
  return context.SetOutput(0, context.Elementwise(strict, equal, ElementWiseOperation::kOR));
}

Status AddEqual(NetworkContext& context, const Node&) {
  VERDICT_ASSIGN_OR_RETURN(ITensor* const a, context.Input(0));
  VERDICT_ASSIGN_OR_RETURN(ITensor* const b, context.Input(1));
  if (a->getType() != Type::kBOOL) {
    return context.SetOutput(0, context.Elementwise(a, b, ElementWiseOperation::kEQUAL));
  }
  VERDICT_ASSIGN_OR_RETURN(ITensor* const differ,
                           context.Elementwise(a, b, ElementWiseOperation::kXOR));
  return context.SetOutput(0, context.Unary(differ, UnaryOperation::kNOT));
}

/// Folds the inputs one after the other. Result: of Join(context, a, b).
template <typename Join>
Result<ITensor*> Fold(NetworkContext& context, const Node& node, Join&& join) {
  VERDICT_ASSIGN_OR_RETURN(ITensor * sum, context.Input(0));
  for (size_t i = 1; i < node.inputs.size(); ++i) {
    VERDICT_ASSIGN_OR_RETURN(ITensor* const next, context.Input(i));
    VERDICT_ASSIGN_OR_RETURN(sum, join(sum, next));
  }
  return sum;
}

template <bool kGreater>
Status AddExtreme(NetworkContext& context, const Node& node) {
  return context.SetOutput(0, Fold(context, node, [&](ITensor* a, ITensor* b) {
                             return AddGreater(context, a, b, kGreater);
                           }));
}

template <bool kMean>
Status AddSum(NetworkContext& context, const Node& node) {
  VERDICT_ASSIGN_OR_RETURN(ITensor * sum, Fold(context, node, [&](ITensor* a, ITensor* b) {
                             return context.Elementwise(a, b, ElementWiseOperation::kSUM);
                           }));
  if (kMean && node.inputs.size() > 1) {
    const auto count = static_cast<double>(node.inputs.size());
    VERDICT_ASSIGN_OR_RETURN(sum, context.Elementwise(sum, count, ElementWiseOperation::kDIV));
  }
  return context.SetOutput(0, sum);
}

Status AddClipNode(NetworkContext& context, const Node&) {
  VERDICT_ASSIGN_OR_RETURN(ITensor* const x, context.Input(0));
  ITensor* bounds[2] = {};
  for (size_t i = 0; i < 2; ++i) {
    if (!context.HasInput(i + 1)) continue;
    VERDICT_ASSIGN_OR_RETURN(bounds[i], context.Input(i + 1));
    // One element of rank 0 or 1, which must not raise the rank of x.
    if (bounds[i]->getDimensions().nbDims > x->getDimensions().nbDims) {
      VERDICT_ASSIGN_OR_RETURN(bounds[i], context.Reshape(bounds[i], std::span<const int64_t>()));
    }
  }
  return context.SetOutput(0, AddClip(context, x, bounds[0], bounds[1]));
}

Status SupportsWhere(const Graph& graph, const Node& node) {
  return RequireMovable(graph, node, 1);
}

Status AddWhere(NetworkContext& context, const Node&) {
  VERDICT_ASSIGN_OR_RETURN(ITensor* const condition, context.Input(0));
  VERDICT_ASSIGN_OR_RETURN(ITensor* const a, context.Input(1));
  VERDICT_ASSIGN_OR_RETURN(ITensor* const b, context.Input(2));
  return context.SetOutput(0, context.Select(condition, a, b));
}

constexpr NodeBuilder kBuilders[] = {
    {"Add", SupportsAdd, Add<ElementWiseOperation::kSUM>},
    {"And", SupportsBools, Add<ElementWiseOperation::kAND>},
    {"Clip", SupportsOrder, AddClipNode},
    {"Div", SupportsDiv, Add<ElementWiseOperation::kDIV>},
    {"Equal", SupportsEqual, AddEqual},
    {"Greater", SupportsOrder, Add<ElementWiseOperation::kGREATER>},
    {"GreaterOrEqual", SupportsOrder, AddOrEqual<ElementWiseOperation::kGREATER>},
    {"Less", SupportsOrder, Add<ElementWiseOperation::kLESS>},
    {"LessOrEqual", SupportsOrder, AddOrEqual<ElementWiseOperation::kLESS>},
    {"Max", SupportsOrder, AddExtreme<true>},
    {"Mean", RequireFloat32, AddSum<true>},
    {"Min", SupportsOrder, AddExtreme<false>},
    {"Mod", SupportsMod, AddMod},
    {"Mul", SupportsArithmetic, Add<ElementWiseOperation::kPROD>},
    {"Or", SupportsBools, Add<ElementWiseOperation::kOR>},
    {"Pow", SupportsPow, AddPow},
    {"Sub", SupportsArithmetic, Add<ElementWiseOperation::kSUB>},
    {"Sum", RequireFloat32, AddSum<false>},
    {"Where", SupportsWhere, AddWhere},
    {"Xor", SupportsBools, Add<ElementWiseOperation::kXOR>},
};

}  // namespace

Result<ITensor*> AddGreater(NetworkContext& context, ITensor* a, ITensor* b, bool greater) {
  if (a->getType() != Type::kFLOAT) {
    return context.Elementwise(a, b,
                               greater ? ElementWiseOperation::kMAX : ElementWiseOperation::kMIN);
  }
  // As ops/wrapping.h: a where it wins or is NaN, else b, NaN included. TensorRT does not say what
  // its own does with NaN.
  VERDICT_ASSIGN_OR_RETURN(
      ITensor * first,
      context.Elementwise(a, b,
                          greater ? ElementWiseOperation::kGREATER : ElementWiseOperation::kLESS));
  VERDICT_ASSIGN_OR_RETURN(ITensor* const is_nan, AddIsNan(context, a));
  VERDICT_ASSIGN_OR_RETURN(first, context.Elementwise(first, is_nan, ElementWiseOperation::kOR));
  return context.Select(first, a, b);
}

Result<ITensor*> AddClip(NetworkContext& context, ITensor* input, ITensor* low, ITensor* high) {
  if (low != nullptr) {
    VERDICT_ASSIGN_OR_RETURN(ITensor* const below,
                             context.Elementwise(input, low, ElementWiseOperation::kLESS));
    VERDICT_ASSIGN_OR_RETURN(input, context.Select(below, low, input));
  }
  if (high != nullptr) {
    VERDICT_ASSIGN_OR_RETURN(ITensor* const above,
                             context.Elementwise(input, high, ElementWiseOperation::kGREATER));
    VERDICT_ASSIGN_OR_RETURN(input, context.Select(above, high, input));
  }
  return input;
}

std::span<const NodeBuilder> BinaryBuilders() { return kBuilders; }

}  // namespace verdict::tensorrt
