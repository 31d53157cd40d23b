// FusedGemm, Gemm, MatMul and Einsum.
#include <algorithm>
#include <optional>
#include <string>

#include "backends/tensorrt/activation_layers.h"
#include "backends/tensorrt/builders.h"
#include "backends/tensorrt/shared_layers.h"
#include "ops/half.h"
#include "ops/linear.h"

namespace verdict::tensorrt {
namespace {

using nvinfer1::ElementWiseOperation;

/// More axes than this TensorRT's products do not take in all versions.
constexpr int kMostAxes = 4;

Status SupportsAxes(const Graph& graph, const Node& node) {
  for (size_t input : {0, 1}) {
    if (InputShape(graph, node, input).rank() > kMostAxes) {
      return Decline("a product of more than " + std::to_string(kMostAxes) + " axes");
    }
  }
  return OkStatus();
}

Status SupportsProduct(const Graph& graph, const Node& node) {
  VERDICT_RETURN_IF_ERROR(RequireFloat32(graph, node));
  return SupportsAxes(graph, node);
}

struct HalfFactors {
  ValueId a, b;
};

/// The factors in the half type where both come out of Casts from it (see lower_half_gemm.cc).
std::optional<HalfFactors> MatchHalfFactors(const Graph& graph, const Node& node) {
  const Node* a = Producer(graph, node.inputs[0]);
  const Node* b = Producer(graph, node.inputs[1]);
  if (a == nullptr || b == nullptr || a->op != "Cast" || b->op != "Cast") return std::nullopt;
  const HalfFactors factors = {a->inputs[0], b->inputs[0]};
  const DataType type = graph.value(factors.a).dtype;
  if (!IsHalf(type) || graph.value(factors.b).dtype != type || !DeviceType(type).ok()) {
    return std::nullopt;
  }
  return factors;
}

/// The product of inputs 0 and 1. Of halves it is rounded to their type, unlike ours.
Result<ITensor*> Factors(NetworkContext& context, const Node& node,
                         Result<ITensor*> (*multiply)(NetworkContext&, ITensor*, ITensor*)) {
  if (const auto half = MatchHalfFactors(context.graph(), node)) {
    VERDICT_ASSIGN_OR_RETURN(ITensor * a, context.Tensor(half->a));
    VERDICT_ASSIGN_OR_RETURN(ITensor * b, context.Tensor(half->b));
    VERDICT_ASSIGN_OR_RETURN(ITensor * product, multiply(context, a, b));
    return context.Cast(product, Type::kFLOAT);
  }
  VERDICT_ASSIGN_OR_RETURN(ITensor * a, context.Input(0));
  VERDICT_ASSIGN_OR_RETURN(ITensor * b, context.Input(1));
  return multiply(context, a, b);
}

Result<ITensor*> Multiply(NetworkContext& context, ITensor* a, ITensor* b) {
  return MatrixProduct(context, a, false, b, false);
}

Status AddFusedGemm(NetworkContext& context, const Node& node) {
  VERDICT_ASSIGN_OR_RETURN(ITensor * y, Factors(context, node, Multiply));
  if (context.HasInput(2)) {
    VERDICT_ASSIGN_OR_RETURN(ITensor * bias, context.Input(2));
    VERDICT_ASSIGN_OR_RETURN(y, context.Elementwise(y, bias, ElementWiseOperation::kSUM));
  }
  return context.SetOutput(0, ApplyActivation(context, y, ActivationOf(AttributeReader(node))));
}

/// As numpy's matmul: a vector is one row (on the left) or one column (on the right).
Result<ITensor*> MultiplyStacks(NetworkContext& context, ITensor* a, ITensor* b) {
  const bool a_is_row = a->getDimensions().nbDims == 1;
  const bool b_is_column = b->getDimensions().nbDims == 1;
  if (a_is_row) {
    VERDICT_ASSIGN_OR_RETURN(a, context.Unsqueeze(a, 1U << 0));
  }
  if (b_is_column) {
    VERDICT_ASSIGN_OR_RETURN(b, context.Unsqueeze(b, 1U << 1));
  }
  VERDICT_ASSIGN_OR_RETURN(ITensor * y, MatrixProduct(context, a, false, b, false));
  const int rank = y->getDimensions().nbDims;
  const uint32_t axes = (a_is_row ? 1U << (rank - 2) : 0U) | (b_is_column ? 1U << (rank - 1) : 0U);
  if (axes == 0) return y;
  return context.Squeeze(y, axes);
}

Status AddMatMul(NetworkContext& context, const Node& node) {
  return context.SetOutput(0, Factors(context, node, MultiplyStacks));
}

Status SupportsGemm(const Graph& graph, const Node& node) { return RequireFloat32(graph, node); }

Result<ITensor*> Times(NetworkContext& context, ITensor* x, float factor) {
  if (factor == 1.0F) return x;
  return context.Elementwise(x, static_cast<double>(factor), ElementWiseOperation::kPROD);
}

Result<ITensor*> GemmOf(NetworkContext& context, const Node& node) {
  const AttributeReader attributes(node);
  VERDICT_ASSIGN_OR_RETURN(ITensor * a, context.Input(0));
  VERDICT_ASSIGN_OR_RETURN(ITensor * b, context.Input(1));
  VERDICT_ASSIGN_OR_RETURN(ITensor * y, MatrixProduct(context, a, attributes.Int("transA", 0) != 0,
                                                      b, attributes.Int("transB", 0) != 0));
  VERDICT_ASSIGN_OR_RETURN(y, Times(context, y, attributes.Float("alpha", 1.0F)));
  if (!context.HasInput(2)) return y;
  VERDICT_ASSIGN_OR_RETURN(ITensor * c, context.Input(2));
  VERDICT_ASSIGN_OR_RETURN(c, Times(context, c, attributes.Float("beta", 1.0F)));
  return context.Elementwise(y, c, ElementWiseOperation::kSUM);
}

Status AddGemm(NetworkContext& context, const Node& node) {
  return context.SetOutput(0, GemmOf(context, node));
}

/// The equation as TensorRT reads it in all versions.
std::string EquationOf(const Node& node) {
  std::string equation(AttributeReader(node).String("equation", ""));
  std::erase(equation, ' ');
  return equation;
}

/// Lower-case letters, an output, and no letter twice in a term.
Status SupportsEinsum(const Graph& graph, const Node& node) {
  VERDICT_RETURN_IF_ERROR(RequireFloat32(graph, node));
  if (node.inputs.size() != 2) return Decline("Einsum of other than two operands");
  const std::string equation = EquationOf(node);
  const size_t arrow = equation.find("->");
  if (arrow == std::string::npos) return Decline("an equation without an output");
  std::string term;
  for (size_t i = 0; i < equation.size(); ++i) {
    const char c = equation[i];
    if (c == ',' || i == arrow) {
      term.clear();
      if (i == arrow) ++i;
      continue;
    }
    if (c < 'a' || c > 'z') return Decline("an equation with other than lower-case letters");
    if (term.find(c) != std::string::npos) return Decline("an equation with a diagonal");
    term += c;
  }
  return OkStatus();
}

Status AddEinsum(NetworkContext& context, const Node& node) {
  VERDICT_ASSIGN_OR_RETURN(ITensor * a, context.Input(0));
  VERDICT_ASSIGN_OR_RETURN(ITensor * b, context.Input(1));
  ITensor* const inputs[] = {a, b};
  const std::string equation = EquationOf(node);
  return context.SetOutput(
      0, context.Output(context.network().addEinsum(inputs, 2, equation.c_str())));
}

constexpr NodeBuilder kBuilders[] = {
    {"Einsum", SupportsEinsum, AddEinsum},
    {"FusedGemm", SupportsProduct, AddFusedGemm},
    {"Gemm", SupportsGemm, AddGemm},
    {"MatMul", SupportsProduct, AddMatMul},
};

}  // namespace

std::span<const NodeBuilder> GemmBuilders() { return kBuilders; }

}  // namespace verdict::tensorrt
