#include <array>

#include "backends/tensorrt/activation_layers.h"
#include "backends/tensorrt/builders.h"
#include "ops/op.h"

namespace verdict::tensorrt {
namespace {

using nvinfer1::ActivationType;
using nvinfer1::ElementWiseOperation;

/// ops/activation.cc's activations of one input. Those of ops/activation_functions.h are there
/// under the same names.
template <ActivationKind kKind>
Status Add(NetworkContext& context, const Node& node) {
  const AttributeReader attributes(node);
  const verdict::Activation activation{kKind, attributes.Float("alpha", 1.0F),
                                       attributes.Float("beta", 0.0F)};
  VERDICT_ASSIGN_OR_RETURN(ITensor* const x, context.Input(0));
  return context.SetOutput(0, ApplyActivation(context, x, activation));
}

Status AddRelu(NetworkContext& context, const Node&) {
  VERDICT_ASSIGN_OR_RETURN(ITensor* const x, context.Input(0));
  if (x->getType() == Type::kFLOAT) {
    return context.SetOutput(0, context.Activation(x, ActivationType::kRELU));
  }
  return context.SetOutput(0, context.Elementwise(x, 0.0, ElementWiseOperation::kMAX));
}

Status SupportsRelu(const Graph& graph, const Node& node) {
  const DataType dtype = InputType(graph, node, 0);
  if (dtype == DataType::kInt32 || dtype == DataType::kInt64) return OkStatus();  // a maximum
  return RequireFloat32(graph, node);
}

Status AddLeakyRelu(NetworkContext& context, const Node& node) {
  const float alpha = AttributeReader(node).Float("alpha", 0.01F);
  VERDICT_ASSIGN_OR_RETURN(ITensor* const x, context.Input(0));
  return context.SetOutput(0, context.Activation(x, ActivationType::kLEAKY_RELU, alpha, 0));
}

Status AddSelu(NetworkContext& context, const Node& node) {
  const AttributeReader attributes(node);
  const float alpha = attributes.Float("alpha", 1.67326319217681884765625F);
  const float gamma = attributes.Float("gamma", 1.05070102214813232421875F);
  VERDICT_ASSIGN_OR_RETURN(ITensor* const x, context.Input(0));
  return context.SetOutput(0, context.Activation(x, ActivationType::kSELU, alpha, gamma));
}

Status SupportsCelu(const Graph& graph, const Node& node) {
  if (!(AttributeReader(node).Float("alpha", 1.0F) > 0)) return Decline("alpha must be above 0");
  return RequireFloat32(graph, node);
}

/// x > 0 ? x : a * (exp(x / a) - 1), which is a * Elu(x / a).
Status AddCelu(NetworkContext& context, const Node& node) {
  const auto alpha = static_cast<double>(AttributeReader(node).Float("alpha", 1.0F));
  VERDICT_ASSIGN_OR_RETURN(ITensor * x, context.Input(0));
  if (alpha == 1) return context.SetOutput(0, context.Activation(x, ActivationType::kELU, 1, 0));
  VERDICT_ASSIGN_OR_RETURN(x, context.Elementwise(x, alpha, ElementWiseOperation::kDIV));
  VERDICT_ASSIGN_OR_RETURN(x, context.Activation(x, ActivationType::kELU, 1, 0));
  return context.SetOutput(0, context.Elementwise(x, alpha, ElementWiseOperation::kPROD));
}

/// alpha * x + beta within 0 and 1, where NaN stays: TensorRT's own is not said to keep it.
Result<ITensor*> HardSigmoid(NetworkContext& context, ITensor* x, double alpha, double beta) {
  VERDICT_ASSIGN_OR_RETURN(x, context.Elementwise(x, alpha, ElementWiseOperation::kPROD));
  VERDICT_ASSIGN_OR_RETURN(x, context.Elementwise(x, beta, ElementWiseOperation::kSUM));
  const int rank = x->getDimensions().nbDims;
  VERDICT_ASSIGN_OR_RETURN(ITensor* const zero, context.Scalar(Type::kFLOAT, 0, rank));
  VERDICT_ASSIGN_OR_RETURN(ITensor* const one, context.Scalar(Type::kFLOAT, 1, rank));
  return AddClip(context, x, zero, one);
}

Status AddHardSigmoid(NetworkContext& context, const Node& node) {
  const AttributeReader attributes(node);
  VERDICT_ASSIGN_OR_RETURN(ITensor* const x, context.Input(0));
  return context.SetOutput(
      0, HardSigmoid(context, x, static_cast<double>(attributes.Float("alpha", 0.2F)),
                     static_cast<double>(attributes.Float("beta", 0.5F))));
}

Status AddHardSwish(NetworkContext& context, const Node&) {
  VERDICT_ASSIGN_OR_RETURN(ITensor* const x, context.Input(0));
  VERDICT_ASSIGN_OR_RETURN(ITensor* const gate, HardSigmoid(context, x, 1.0 / 6, 0.5));
  return context.SetOutput(0, context.Elementwise(x, gate, ElementWiseOperation::kPROD));
}

Status AddMish(NetworkContext& context, const Node&) {
  VERDICT_ASSIGN_OR_RETURN(ITensor* const x, context.Input(0));
  VERDICT_ASSIGN_OR_RETURN(ITensor * gate,
                           ApplyActivation(context, x, {ActivationKind::kSoftplus, 0.0F, 0.0F}));
  VERDICT_ASSIGN_OR_RETURN(gate, context.Activation(gate, ActivationType::kTANH));
  return context.SetOutput(0, context.Elementwise(x, gate, ElementWiseOperation::kPROD));
}

Status AddSwish(NetworkContext& context, const Node& node) {
  const auto alpha = static_cast<double>(AttributeReader(node).Float("alpha", 1.0F));
  VERDICT_ASSIGN_OR_RETURN(ITensor* const x, context.Input(0));
  ITensor* gate = x;
  if (alpha != 1) {
    VERDICT_ASSIGN_OR_RETURN(gate, context.Elementwise(x, alpha, ElementWiseOperation::kPROD));
  }
  VERDICT_ASSIGN_OR_RETURN(gate, context.Activation(gate, ActivationType::kSIGMOID));
  return context.SetOutput(0, context.Elementwise(x, gate, ElementWiseOperation::kPROD));
}

Status AddGelu(NetworkContext& context, const Node& node) {
  const bool tanh = AttributeReader(node).String("approximate", "none") == "tanh";
  VERDICT_ASSIGN_OR_RETURN(ITensor* const x, context.Input(0));
#if NV_TENSORRT_MAJOR >= 10
  const auto type = tanh ? ActivationType::kGELU_TANH : ActivationType::kGELU_ERF;
  return context.SetOutput(0, context.Activation(x, type));
#else
  const ActivationKind kind = tanh ? ActivationKind::kGeluTanh : ActivationKind::kGelu;
  return context.SetOutput(0, ApplyActivation(context, x, {kind, 0.0F, 0.0F}));
#endif
}

/// x < 0 ? slope * x : x; the slope broadcasts to x.
Status AddPRelu(NetworkContext& context, const Node&) {
  VERDICT_ASSIGN_OR_RETURN(ITensor* const x, context.Input(0));
  VERDICT_ASSIGN_OR_RETURN(ITensor * slope, context.Input(1));
  VERDICT_ASSIGN_OR_RETURN(slope, context.RaiseRank(slope, x->getDimensions().nbDims));
  return context.SetOutput(0, context.Output(context.network().addParametricReLU(*x, *slope)));
}

constexpr NodeBuilder kBuilders[] = {
    {"Celu", SupportsCelu, AddCelu},
    {"Elu", RequireFloat32, Add<ActivationKind::kElu>},
    {"Gelu", RequireFloat32, AddGelu},
    {"HardSigmoid", RequireFloat32, AddHardSigmoid},
    {"HardSwish", RequireFloat32, AddHardSwish},
    {"LeakyRelu", RequireFloat32, AddLeakyRelu},
    {"Mish", RequireFloat32, AddMish},
    {"PRelu", RequireFloat32, AddPRelu},
    {"Relu", SupportsRelu, AddRelu},
    {"Selu", RequireFloat32, AddSelu},
    {"Sigmoid", RequireFloat32, Add<ActivationKind::kSigmoid>},
    {"Softplus", RequireFloat32, Add<ActivationKind::kSoftplus>},
    {"Softsign", RequireFloat32, Add<ActivationKind::kSoftsign>},
    {"Swish", RequireFloat32, AddSwish},
    {"Tanh", RequireFloat32, Add<ActivationKind::kTanh>},
    {"ThresholdedRelu", RequireFloat32, Add<ActivationKind::kThresholdedRelu>},
};

}  // namespace

std::span<const NodeBuilder> ActivationBuilders() { return kBuilders; }

}  // namespace verdict::tensorrt
