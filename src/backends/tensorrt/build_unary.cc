#include <limits>

#include "backends/tensorrt/builders.h"
#include "ops/op.h"

namespace verdict::tensorrt {
namespace {

using nvinfer1::ElementWiseOperation;
using nvinfer1::UnaryOperation;

template <UnaryOperation kOperation>
Status Add(NetworkContext& context, const Node&) {
  VERDICT_ASSIGN_OR_RETURN(ITensor* const x, context.Input(0));
  return context.SetOutput(0, context.Unary(x, kOperation));
}

Status SupportsNumber(const Graph& graph, const Node& node) {
  const DataType dtype = InputType(graph, node, 0);
  if (dtype == DataType::kInt32 || dtype == DataType::kInt64) {
    return RequireExactIntegers(graph, node);
  }
  return RequireFloat32(graph, node);
}

/// Of integers the greater of x and -x, where the least integer stays as it is.
Status AddAbs(NetworkContext& context, const Node&) {
  VERDICT_ASSIGN_OR_RETURN(ITensor* const x, context.Input(0));
  if (x->getType() == Type::kFLOAT)
    return context.SetOutput(0, context.Unary(x, UnaryOperation::kABS));
  VERDICT_ASSIGN_OR_RETURN(ITensor* const negated,
                           context.Elementwise(x, 0.0, ElementWiseOperation::kSUB, true));
  return context.SetOutput(0, context.Elementwise(x, negated, ElementWiseOperation::kMAX));
}

Status AddNeg(NetworkContext& context, const Node&) {
  VERDICT_ASSIGN_OR_RETURN(ITensor* const x, context.Input(0));
  if (x->getType() == Type::kFLOAT)
    return context.SetOutput(0, context.Unary(x, UnaryOperation::kNEG));
  return context.SetOutput(0, context.Elementwise(x, 0.0, ElementWiseOperation::kSUB, true));
}

/// NaN stays NaN.
Status AddSign(NetworkContext& context, const Node&) {
  VERDICT_ASSIGN_OR_RETURN(ITensor* const x, context.Input(0));
  VERDICT_ASSIGN_OR_RETURN(ITensor* const sign, context.Unary(x, UnaryOperation::kSIGN));
  if (x->getType() != Type::kFLOAT) return context.SetOutput(0, sign);
  VERDICT_ASSIGN_OR_RETURN(ITensor* const is_nan, AddIsNan(context, x));
  return context.SetOutput(0, context.Select(is_nan, x, sign));
}

Status SupportsBool(const Graph&, const Node&) { return OkStatus(); }  // the shape rule is strict

Status SupportsFloatClass(const Graph& graph, const Node& node) {
  return InputType(graph, node, 0) == DataType::kFloat32 ? OkStatus() : Decline("only f32");
}

Status SetIsNan(NetworkContext& context, const Node&) {
  VERDICT_ASSIGN_OR_RETURN(ITensor* const x, context.Input(0));
  return context.SetOutput(0, AddIsNan(context, x));
}

Status AddIsInf(NetworkContext& context, const Node& node) {
  const AttributeReader attributes(node);
  const bool negative = attributes.Int("detect_negative", 1) != 0;
  const bool positive = attributes.Int("detect_positive", 1) != 0;
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  VERDICT_ASSIGN_OR_RETURN(ITensor * x, context.Input(0));
  if (negative && positive) {
    VERDICT_ASSIGN_OR_RETURN(x, context.Unary(x, UnaryOperation::kABS));
  }
  return context.SetOutput(
      0, context.Elementwise(x, positive ? kInfinity : -kInfinity, ElementWiseOperation::kEQUAL));
}

Status SupportsIsInf(const Graph& graph, const Node& node) {
  const AttributeReader attributes(node);
  if (attributes.Int("detect_negative", 1) == 0 && attributes.Int("detect_positive", 1) == 0) {
    return Decline("detects nothing");
  }
  return SupportsFloatClass(graph, node);
}

constexpr NodeBuilder kBuilders[] = {
    {"Abs", SupportsNumber, AddAbs},
    {"Acos", RequireFloat32, Add<UnaryOperation::kACOS>},
    {"Acosh", RequireFloat32, Add<UnaryOperation::kACOSH>},
    {"Asin", RequireFloat32, Add<UnaryOperation::kASIN>},
    {"Asinh", RequireFloat32, Add<UnaryOperation::kASINH>},
    {"Atan", RequireFloat32, Add<UnaryOperation::kATAN>},
    {"Atanh", RequireFloat32, Add<UnaryOperation::kATANH>},
    {"Ceil", RequireFloat32, Add<UnaryOperation::kCEIL>},
    {"Cos", RequireFloat32, Add<UnaryOperation::kCOS>},
    {"Cosh", RequireFloat32, Add<UnaryOperation::kCOSH>},
    {"Erf", RequireFloat32, Add<UnaryOperation::kERF>},
    {"Exp", RequireFloat32, Add<UnaryOperation::kEXP>},
    {"Floor", RequireFloat32, Add<UnaryOperation::kFLOOR>},
    {"IsInf", SupportsIsInf, AddIsInf},
    {"IsNaN", SupportsFloatClass, SetIsNan},
    {"Log", RequireFloat32, Add<UnaryOperation::kLOG>},
    {"Neg", SupportsNumber, AddNeg},
    {"Not", SupportsBool, Add<UnaryOperation::kNOT>},
    {"Reciprocal", RequireFloat32, Add<UnaryOperation::kRECIP>},
    {"Round", RequireFloat32, Add<UnaryOperation::kROUND>},
    {"Sign", SupportsNumber, AddSign},
    {"Sin", RequireFloat32, Add<UnaryOperation::kSIN>},
    {"Sinh", RequireFloat32, Add<UnaryOperation::kSINH>},
    {"Sqrt", RequireFloat32, Add<UnaryOperation::kSQRT>},
    {"Tan", RequireFloat32, Add<UnaryOperation::kTAN>},
};

}  // namespace

Result<ITensor*> AddIsNan(NetworkContext& context, ITensor* input) {
#if NV_TENSORRT_MAJOR >= 11
  return context.Unary(input, UnaryOperation::kISNAN);
#else
  VERDICT_ASSIGN_OR_RETURN(ITensor* const same,
                           context.Elementwise(input, input, ElementWiseOperation::kEQUAL));
  return context.Unary(same, UnaryOperation::kNOT);
#endif
}

std::span<const NodeBuilder> UnaryBuilders() { return kBuilders; }

}  // namespace verdict::tensorrt
