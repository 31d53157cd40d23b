#include "ops/half.h"
#include "plan/lowering.h"

namespace verdict {

void LowerHalfGemm(Lowering& lowering, Node& node) {
  const Graph& graph = lowering.graph;
  const Node* weights = lowering.Producer(node.inputs[1], "Cast");
  const Node* activations = lowering.Producer(node.inputs[0], "Cast");
  if (weights == nullptr || activations == nullptr) return;
  const Constant* values = ConstantInput(graph, *weights, 0);
  const ValueId rounded = activations->inputs[0];
  if (values == nullptr || !IsHalf(values->dtype) || graph.value(rounded).dtype != values->dtype ||
      graph.value(node.inputs[0]).dtype != DataType::kFloat32) {
    return;
  }
  // Where the values that were rounded are no float32, those that came of it are: to round them
  // again changes nothing.
  const Node* round = lowering.Producer(rounded, "Cast");
  if (round != nullptr && graph.value(round->inputs[0]).dtype == DataType::kFloat32) {
    node.inputs[0] = round->inputs[0];
  }
  node.op = "HalfGemm";
  node.inputs[1] = weights->inputs[0];
}

}  // namespace verdict
