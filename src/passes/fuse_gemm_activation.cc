#include <array>
#include <string>

#include "ops/op.h"
#include "passes/match.h"
#include "passes/pass.h"

namespace verdict {
namespace {

/// The FusedGemm activation that a node computes of its first input, or "".
std::string ActivationOf(const Node& node) {
  for (const char* name : {"Relu", "LeakyRelu", "Sigmoid", "Tanh", "Elu"}) {
    if (node.op == name) return name;
  }
  if (node.op == "Gelu") {
    return AttributeReader(node).String("approximate", "none") == "tanh" ? "GeluTanh" : "Gelu";
  }
  return "";
}

bool IsPlainGemm(const Node* node) {
  return node != nullptr && node->op == "FusedGemm" &&
         AttributeReader(*node).String("activation", "").empty();
}

void Absorb(Graph& graph, Uses& uses, int32_t gemm_index, Node& node, std::string activation) {
  Node& gemm = graph.nodes[static_cast<size_t>(gemm_index)];
  gemm.attributes["activation"] = std::move(activation);
  if (const auto alpha = node.attributes.find("alpha"); alpha != node.attributes.end()) {
    gemm.attributes["alpha"] = alpha->second;
  } else if (node.op == "LeakyRelu") {
    gemm.attributes["alpha"] = 0.01F;  // ONNX's defaults
  } else if (node.op == "Elu") {
    gemm.attributes["alpha"] = 1.0F;
  }
  gemm.outputs[0] = node.outputs[0];
  uses.SetProducer(gemm.outputs[0], gemm_index);
  Drop(node);
}

bool FuseOne(Graph& graph, Uses& uses, Node& node) {
  const std::string activation = ActivationOf(node);
  if (activation.empty()) return false;
  if (!IsPlainGemm(uses.Producer(node.inputs[0])) || !uses.HasSingleUse(node.inputs[0])) {
    return false;
  }
  Absorb(graph, uses, uses.ProducerIndex(node.inputs[0]), node, activation);
  return true;
}

/// Mul(y, Sigmoid(y)) of a product y is Silu: how PyTorch exports it.
bool FuseSilu(Graph& graph, Uses& uses, Node& mul) {
  if (mul.op != "Mul") return false;
  for (size_t side = 0; side < 2; ++side) {
    const ValueId y = mul.inputs[side];
    const ValueId gate = mul.inputs[1 - side];
    const Node* sigmoid = uses.Producer(gate);
    if (sigmoid == nullptr || sigmoid->op != "Sigmoid" || sigmoid->inputs[0] != y) continue;
    if (!uses.HasSingleUse(gate) || uses.Count(y) != 2) continue;
    if (!IsPlainGemm(uses.Producer(y))) continue;
    const auto sigmoid_index = static_cast<size_t>(uses.ProducerIndex(gate));
    Absorb(graph, uses, uses.ProducerIndex(y), mul, "Silu");
    Drop(graph.nodes[sigmoid_index]);
    return true;
  }
  return false;
}

Result<bool> Run(Graph& graph) {
  bool changed = false;
  Uses uses(graph);
  for (Node& node : graph.nodes) {
    changed = FuseOne(graph, uses, node) || FuseSilu(graph, uses, node) || changed;
  }
  Sweep(graph);
  return changed;
}

}  // namespace

const Pass kFuseGemmActivation = {
    .name = "fuse_gemm_activation",
    .summary = "an activation that alone reads a FusedGemm is applied inside it",
    .run = Run};

}  // namespace verdict
