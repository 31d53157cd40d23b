#include <algorithm>
#include <cmath>

#include "passes/match.h"
#include "passes/pass.h"

namespace verdict {
namespace {

constexpr double kTolerance = 1e-5;  // exporters write 1.41421 and the like

bool IsScalar(const Graph& graph, ValueId id, double expected) {
  const auto value = ScalarConstant(graph, id);
  return value && std::fabs(*value - expected) <= kTolerance * std::fabs(expected);
}

/// If `id` is Erf(x / sqrt(2)) + 1, the x; else kNoValue.
ValueId MatchErfPlusOne(const Graph& graph, const Uses& uses, ValueId id) {
  const Node* add = uses.Producer(id);
  if (add == nullptr || add->op != "Add" || !uses.HasSingleUse(id)) return kNoValue;
  for (size_t side = 0; side < 2; ++side) {
    if (ScalarConstant(graph, add->inputs[1 - side]) != 1.0) continue;
    const Node* erf = uses.Producer(add->inputs[side]);
    if (erf == nullptr || erf->op != "Erf" || !uses.HasSingleUse(add->inputs[side])) continue;
    const Node* scale = uses.Producer(erf->inputs[0]);
    if (scale == nullptr || !uses.HasSingleUse(erf->inputs[0])) continue;
    if (scale->op == "Div" && IsScalar(graph, scale->inputs[1], std::sqrt(2.0))) {
      return scale->inputs[0];
    }
    if (scale->op != "Mul") continue;
    for (size_t factor = 0; factor < 2; ++factor) {
      if (IsScalar(graph, scale->inputs[1 - factor], std::sqrt(0.5))) return scale->inputs[factor];
    }
  }
  return kNoValue;
}

/// The factors of a product of two or three, whichever way it is bracketed.
std::vector<ValueId> Factors(const Uses& uses, const Node& mul) {
  std::vector<ValueId> factors;
  for (ValueId id : mul.inputs) {
    const Node* inner = uses.Producer(id);
    if (inner != nullptr && inner->op == "Mul" && uses.HasSingleUse(id)) {
      factors.insert(factors.end(), inner->inputs.begin(), inner->inputs.end());
    } else {
      factors.push_back(id);
    }
  }
  return factors;
}

/// 0.5 * x * (1 + erf(x / sqrt(2))), in any order.
ValueId MatchGelu(const Graph& graph, const Uses& uses, const Node& mul) {
  if (mul.op != "Mul") return kNoValue;
  const std::vector<ValueId> factors = Factors(uses, mul);
  if (factors.size() != 3) return kNoValue;
  for (ValueId id : factors) {
    const ValueId x = MatchErfPlusOne(graph, uses, id);
    if (x == kNoValue || std::ranges::count(factors, x) != 1) continue;
    for (ValueId other : factors) {
      if (other != id && other != x && ScalarConstant(graph, other) == 0.5) return x;
    }
  }
  return kNoValue;
}

Result<bool> Run(Graph& graph) {
  bool changed = false;
  const Uses uses(graph);
  for (Node& node : graph.nodes) {
    const ValueId x = MatchGelu(graph, uses, node);
    // A 0.5 of more axes than x gives the product more axes, too.
    if (x == kNoValue || !(graph.value(node.outputs[0]).shape == graph.value(x).shape)) continue;
    node.op = "Gelu";
    node.inputs = {x};
    node.attributes.clear();
    changed = true;  // what fed the product is dead now
  }
  return changed;
}

}  // namespace

const Pass kFuseGelu = {
    .name = "fuse_gelu", .summary = "0.5 * x * (1 + erf(x / sqrt 2)) becomes Gelu", .run = Run};

}  // namespace verdict
