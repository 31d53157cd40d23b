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

void Absorb(Graph& graph, int32_t gemm_index, size_t index, std::string activation) {
  Node& gemm = graph.nodes[static_cast<size_t>(gemm_index)];
  const Node& node = graph.nodes[index];
  gemm.attributes["activation"] = std::move(activation);
  if (const auto alpha = node.attributes.find("alpha"); alpha != node.attributes.end()) {
    gemm.attributes["alpha"] = alpha->second;
  } else if (node.op == "LeakyRelu") {
    gemm.attributes["alpha"] = 0.01F;  // ONNX's defaults
  } else if (node.op == "Elu") {
    gemm.attributes["alpha"] = 1.0F;
  }
  gemm.outputs[0] = node.outputs[0];
  graph.nodes.erase(graph.nodes.begin() + static_cast<ptrdiff_t>(index));
}

bool FuseOne(Graph& graph, const Uses& uses, size_t index) {
  const Node& node = graph.nodes[index];
  const std::string activation = ActivationOf(node);
  if (activation.empty()) return false;
  if (!IsPlainGemm(uses.Producer(node.inputs[0])) || !uses.HasSingleUse(node.inputs[0])) {
    return false;
  }
  Absorb(graph, uses.ProducerIndex(node.inputs[0]), index, activation);
  return true;
}

/// Mul(y, Sigmoid(y)) of a product y is Silu: how PyTorch exports it.
bool FuseSilu(Graph& graph, const Uses& uses, size_t index) {
  const Node& mul = graph.nodes[index];
  if (mul.op != "Mul") return false;
  for (size_t side = 0; side < 2; ++side) {
    const ValueId y = mul.inputs[side];
    const ValueId gate = mul.inputs[1 - side];
    const Node* sigmoid = uses.Producer(gate);
    if (sigmoid == nullptr || sigmoid->op != "Sigmoid" || sigmoid->inputs[0] != y) continue;
    if (!uses.HasSingleUse(gate) || uses.Count(y) != 2) continue;
    if (!IsPlainGemm(uses.Producer(y))) continue;
    const int32_t gemm = uses.ProducerIndex(y);
    const int32_t sigmoid_index = uses.ProducerIndex(gate);
    Absorb(graph, gemm, index, "Silu");
    graph.nodes.erase(graph.nodes.begin() + sigmoid_index);
    return true;
  }
  return false;
}

Result<bool> Run(Graph& graph) {
  bool changed = false;
  Uses uses(graph);
  for (size_t index = 0; index < graph.nodes.size();) {
    if (FuseOne(graph, uses, index)) {
      uses.Refresh();
      changed = true;
    } else if (FuseSilu(graph, uses, index)) {
      uses.Refresh();
      changed = true;
      --index;  // the Sigmoid before it went, too
    } else {
      ++index;
    }
  }
  return changed;
}

}  // namespace

const Pass kFuseGemmActivation = {
    .name = "fuse_gemm_activation",
    .summary = "an activation that alone reads a FusedGemm is applied inside it",
    .run = Run};

}  // namespace verdict
