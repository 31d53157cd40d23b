#include <cmath>
#include <numbers>

#include "onnx/export_table.h"
#include "ops/recurrent.h"

// Layers that operator set 17 does not have, as the operators they stand for.

namespace verdict {
namespace {

/// 0.5 * x * (1 + g) to the node's output, g = erf(x / sqrt 2), or its approximation by tanh.
void EmitGelu(NodeExport& node, const std::string& x, bool by_tanh) {
  std::string g;
  if (by_tanh) {
    const std::string square = node.EmitValue("Mul", {x, x});
    const std::string cube = node.EmitValue("Mul", {square, x});
    const std::string part = node.EmitValue("Mul", {cube, node.AddNumber("cubic", 0.044715)});
    const std::string sum = node.EmitValue("Add", {x, part});
    const double factor = std::sqrt(2 * std::numbers::inv_pi);
    g = node.EmitValue("Tanh", {node.EmitValue("Mul", {sum, node.AddNumber("scale", factor)})});
  } else {
    const std::string root = node.AddNumber("sqrt2", std::numbers::sqrt2);
    g = node.EmitValue("Erf", {node.EmitValue("Div", {x, root})});
  }
  const std::string sum = node.EmitValue("Add", {g, node.AddNumber("one", 1)});
  const std::string product = node.EmitValue("Mul", {x, sum});
  node.EmitOutput("Mul", {product, node.AddNumber("half", 0.5)});
}

/// The activation of a FusedGemm of `x` to the node's output.
Status EmitActivation(NodeExport& node, const std::string& activation, const std::string& x) {
  if (activation == "Gelu" || activation == "GeluTanh") {
    EmitGelu(node, x, activation == "GeluTanh");
    return OkStatus();
  }
  if (activation == "Silu") {
    node.EmitOutput("Mul", {x, node.EmitValue("Sigmoid", {x})});
    return OkStatus();
  }
  Attributes attributes;
  if (activation == "LeakyRelu" || activation == "Elu") {
    if (const auto alpha = node.attributes.find("alpha"); alpha != node.attributes.end()) {
      attributes.insert(*alpha);
    }
  } else if (activation != "Relu" && activation != "Sigmoid" && activation != "Tanh") {
    return node.Unsupported("its activation '" + activation + "' has no form in ONNX");
  }
  node.EmitOutput(activation, {x}, attributes);
  return OkStatus();
}

}  // namespace

Status ExportFusedGemm(NodeExport& node) {
  const std::string activation(node.reader().String("activation", ""));
  const std::vector<std::string> factors = {node.Input(0), node.Input(1)};
  const bool has_bias = node.has_input(2);
  if (activation.empty() && !has_bias) {
    node.EmitOutput("MatMul", factors);
    return OkStatus();
  }
  const std::string product = node.EmitValue("MatMul", factors);
  if (activation.empty()) {
    node.EmitOutput("Add", {product, node.Input(2)});
    return OkStatus();
  }
  const std::string sum = has_bias ? node.EmitValue("Add", {product, node.Input(2)}) : product;
  return EmitActivation(node, activation, sum);
}

// Its activations are floats there, whatever type they are rounded to here.
Status ExportRecurrent(NodeExport& node) {
  node.attributes.erase(std::string(kComputeType));
  node.EmitNode();
  return OkStatus();
}

Status ExportGelu(NodeExport& node) {
  EmitGelu(node, node.Input(0), node.reader().String("approximate", "none") == "tanh");
  return OkStatus();
}

// Each group is an instance of InstanceNormalization; scale and bias come per channel.
Status ExportGroupNormalization(NodeExport& node) {
  const std::string x = node.Input(0);
  const int rank = node.input(0).shape.rank();
  const int64_t groups = node.reader().Int("num_groups", 1);
  const auto count = static_cast<size_t>(groups);
  const std::string shape = node.EmitValue("Shape", {x});
  const std::string grouped =
      node.EmitValue("Reshape", {x, node.AddInts("groups", {0, groups, -1})});
  const std::string normal =
      node.EmitValue("InstanceNormalization",
                     {grouped, node.AddNumbers("ones", {groups}, std::vector<double>(count, 1)),
                      node.AddNumbers("zeros", {groups}, std::vector<double>(count, 0))},
                     {{"epsilon", node.reader().Float("epsilon", 1e-5F)}});
  const std::string back = node.EmitValue("Reshape", {normal, shape});
  std::vector<int64_t> axes;
  for (int axis = 1; axis + 1 < rank; ++axis) axes.push_back(axis);
  const auto per_channel = [&](size_t input) {
    if (axes.empty()) return node.Input(input);
    return node.EmitValue("Unsqueeze", {node.Input(input), node.AddInts("axes", axes)});
  };
  const std::string scaled = node.EmitValue("Mul", {back, per_channel(1)});
  node.EmitOutput("Add", {scaled, per_channel(2)});
  return OkStatus();
}

// x * tanh(softplus(x))
Status ExportMish(NodeExport& node) {
  const std::string x = node.Input(0);
  const std::string softplus = node.EmitValue("Softplus", {x});
  node.EmitOutput("Mul", {x, node.EmitValue("Tanh", {softplus})});
  return OkStatus();
}

// x / sqrt(mean(x^2) + epsilon) * scale, the mean over the axes from `axis` on.
Status ExportRmsNormalization(NodeExport& node) {
  const std::string x = node.Input(0);
  const int64_t rank = node.input(0).shape.rank();
  int64_t axis = node.reader().Int("axis", -1);
  if (axis < 0) axis += rank;
  std::vector<int64_t> axes;
  for (; axis < rank; ++axis) axes.push_back(axis);
  const std::string square = node.EmitValue("Mul", {x, x});
  const std::string mean = node.EmitValue("ReduceMean", {square}, {{"axes", axes}});
  const double epsilon = node.reader().Float("epsilon", 1e-5F);
  const std::string sum = node.EmitValue("Add", {mean, node.AddNumber("epsilon", epsilon)});
  const std::string normal = node.EmitValue("Div", {x, node.EmitValue("Sqrt", {sum})});
  node.EmitOutput("Mul", {normal, node.Input(1)});
  return OkStatus();
}

// x * sigmoid(alpha * x)
Status ExportSwish(NodeExport& node) {
  const std::string x = node.Input(0);
  const float alpha = node.reader().Float("alpha", 1);
  const std::string gate =
      alpha == 1 ? x : node.EmitValue("Mul", {x, node.AddNumber("alpha", alpha)});
  node.EmitOutput("Mul", {x, node.EmitValue("Sigmoid", {gate})});
  return OkStatus();
}

}  // namespace verdict
