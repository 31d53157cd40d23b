#include <algorithm>
#include <cmath>
#include <optional>

#include "ops/axes.h"
#include "ops/op.h"
#include "passes/match.h"
#include "passes/pass.h"

namespace verdict {
namespace {

/// Is `node` the mean over the last axis alone, with that axis kept?
bool IsLastAxisMean(const Graph& graph, const Node* node) {
  if (node == nullptr || node->op != "ReduceMean") return false;
  if (AttributeReader(*node).Int("keepdims", 1) != 1 || node->inputs.size() != 2) return false;
  const Constant* axes = graph.constant(node->inputs[1]);
  if (axes == nullptr || axes->view().size() != 1) return false;
  const int64_t axis = IntElement(axes->view(), 0);
  return axis == -1 || axis == graph.value(node->inputs[0]).shape.rank() - 1;
}

bool IsSquareOf(const Graph& graph, const Node* node, ValueId x) {
  if (node == nullptr) return false;
  if (node->op == "Mul") return node->inputs[0] == x && node->inputs[1] == x;
  return node->op == "Pow" && node->inputs[0] == x && ScalarConstant(graph, node->inputs[1]) == 2.0;
}

struct Match {
  ValueId x = kNoValue;
  double epsilon = 0;
};

/// d / sqrt(mean(d^2) + epsilon) with d = x - mean(x).
std::optional<Match> MatchNormalized(const Graph& graph, const Uses& uses, const Node& div) {
  if (div.op != "Div") return std::nullopt;
  const ValueId difference = div.inputs[0];
  const Node* sub = uses.Producer(difference);
  const Node* root = uses.Producer(div.inputs[1]);
  if (sub == nullptr || sub->op != "Sub" || root == nullptr || root->op != "Sqrt") {
    return std::nullopt;
  }
  const Node* mean = uses.Producer(sub->inputs[1]);
  if (!IsLastAxisMean(graph, mean) || mean->inputs[0] != sub->inputs[0]) return std::nullopt;
  const Node* add = uses.Producer(root->inputs[0]);
  if (add == nullptr || add->op != "Add") return std::nullopt;
  for (size_t side = 0; side < 2; ++side) {
    const auto epsilon = ScalarConstant(graph, add->inputs[1 - side]);
    const Node* variance = uses.Producer(add->inputs[side]);
    if (!epsilon || !IsLastAxisMean(graph, variance)) continue;
    const Node* square = uses.Producer(variance->inputs[0]);
    // Some exporters compute the difference twice.
    if (IsSquareOf(graph, square, difference)) return Match{sub->inputs[0], *epsilon};
  }
  return std::nullopt;
}

/// The other operand of a commutative node of that kind if it is a per-channel constant [C].
ValueId ChannelOperand(const Graph& graph, const Node& node, const char* op, ValueId x,
                       int64_t channels) {
  if (node.op != op) return kNoValue;
  for (size_t side = 0; side < 2; ++side) {
    if (node.inputs[side] != x) continue;
    const ValueId other = node.inputs[1 - side];
    const Constant* constant = graph.constant(other);
    if (constant != nullptr && constant->shape == Shape{channels}) return other;
  }
  return kNoValue;
}

Result<bool> Run(Graph& graph) {
  bool changed = false;
  const Uses uses(graph);
  for (size_t index = 0; index < graph.nodes.size(); ++index) {
    const auto match = MatchNormalized(graph, uses, graph.nodes[index]);
    if (!match) continue;
    const Shape& shape = graph.value(match->x).shape;
    const int64_t channels = shape[shape.rank() - 1];
    if (IsSymbol(channels) || graph.value(match->x).dtype != DataType::kFloat32) continue;
    // Scale and shift follow in nearly every model; without them the operator needs ones.
    const ValueId normalized = graph.nodes[index].outputs[0];
    const Node* mul = uses.OnlyReader(normalized);
    const ValueId gamma =
        mul == nullptr ? kNoValue : ChannelOperand(graph, *mul, "Mul", normalized, channels);
    if (gamma == kNoValue) continue;
    const Node* add = uses.OnlyReader(mul->outputs[0]);
    const ValueId beta =
        add == nullptr ? kNoValue : ChannelOperand(graph, *add, "Add", mul->outputs[0], channels);
    const Node* last = beta == kNoValue ? mul : add;
    // An epsilon or exponent of more axes than x gives the result more axes, too.
    if (!(graph.value(last->outputs[0]).shape == shape)) continue;
    Node& target = graph.nodes[static_cast<size_t>(last - graph.nodes.data())];
    target.op = "LayerNormalization";
    target.inputs = {match->x, gamma};
    if (beta != kNoValue) target.inputs.push_back(beta);
    target.attributes = {{"axis", int64_t{-1}}, {"epsilon", static_cast<float>(match->epsilon)}};
    changed = true;  // what led here is dead now
  }
  return changed;
}

}  // namespace

const Pass kFuseLayerNorm = {
    .name = "fuse_layer_norm",
    .summary = "mean, difference, variance, division, scale and shift become LayerNormalization",
    .run = Run};

}  // namespace verdict
