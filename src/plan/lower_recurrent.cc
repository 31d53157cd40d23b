#include <algorithm>

#include "ops/op.h"
#include "ops/recurrent.h"
#include "plan/lowering.h"

namespace verdict {
namespace {

constexpr size_t kWeights[] = {kRecurrentW, kRecurrentR};

/// Weights from behind DequantizeLinear, with their scales.
bool LowerInt8(Lowering& lowering, Node& node) {
  const auto w = MatchQuantizedWeights(lowering, node.inputs[kRecurrentW], 3);
  const auto r = MatchQuantizedWeights(lowering, node.inputs[kRecurrentR], 3);
  if (!w || !r) return false;
  node.inputs.resize(kRecurrentRScales + 1, kNoValue);
  node.inputs[kRecurrentW] = w->values;
  node.inputs[kRecurrentR] = r->values;
  node.inputs[kRecurrentWScales] = w->scales;
  node.inputs[kRecurrentRScales] = r->scales;
  return true;
}

/// Weights from behind Cast.
bool LowerHalf(Lowering& lowering, Node& node, std::string_view type) {
  const auto cast = [&](size_t input) -> const Node* {
    const Node* made = lowering.Producer(node.inputs[input], "Cast");
    const Constant* values = made == nullptr ? nullptr : ConstantInput(lowering.graph, *made, 0);
    const DataType wanted = type == "float16" ? DataType::kFloat16 : DataType::kBFloat16;
    return values == nullptr || values->dtype != wanted ? nullptr : made;
  };
  if (std::ranges::any_of(kWeights, [&](size_t input) { return cast(input) == nullptr; })) {
    return false;
  }
  for (size_t input : kWeights) node.inputs[input] = cast(input)->inputs[0];
  return true;
}

}  // namespace

void LowerRecurrent(Lowering& lowering, Node& node) {
  const std::string_view type = AttributeReader(node).String(kComputeType, "");
  if (lowering.graph.value(node.inputs[kRecurrentX]).dtype != DataType::kFloat32) return;
  const bool is_half = type == "float16" || type == "bfloat16";
  if ((type == "int8" && LowerInt8(lowering, node)) ||
      (is_half && LowerHalf(lowering, node, type))) {
    node.op = "Quantized" + node.op;
  }
}

}  // namespace verdict
