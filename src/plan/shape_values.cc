#include "plan/shape_values.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace verdict {
namespace {

/// What exporters make shapes with.
constexpr std::array<std::string_view, 24> kShapeOps = {
    "Add",       "Cast",       "Concat",    "ConstantOfShape",
    "Div",       "Equal",      "Expand",    "Gather",
    "Greater",   "Identity",   "Less",      "Max",
    "Min",       "Mod",        "Mul",       "Neg",
    "ReduceMax", "ReduceProd", "Slice",     "Reshape",
    "Squeeze",   "Sub",        "Unsqueeze", "Where"};

/// By operator: which inputs, one bit each, say a shape.
struct ShapeOperands {
  std::string_view op;
  uint32_t inputs;
};
constexpr std::array<ShapeOperands, 13> kShapeOperands = {{{"ConstantOfShape", 0b1},
                                                           {"CumSum", 0b10},
                                                           {"Expand", 0b10},
                                                           {"OneHot", 0b10},
                                                           {"Pad", 0b1010},
                                                           {"Range", 0b111},
                                                           {"Reshape", 0b10},
                                                           {"Slice", 0b11110},
                                                           {"Split", 0b10},
                                                           {"Squeeze", 0b10},
                                                           {"Tile", 0b10},
                                                           {"TopK", 0b10},
                                                           {"Unsqueeze", 0b10}}};

bool IsSmallIndex(const Value& value) {
  constexpr Dim kMaxElements = 64;
  const bool is_index = value.dtype == DataType::kInt64 || value.dtype == DataType::kInt32 ||
                        value.dtype == DataType::kBool;
  return is_index &&
         (value.shape.rank() == 0 ||
          (value.shape.rank() == 1 && value.shape.IsStatic() && value.shape[0] <= kMaxElements));
}

}  // namespace

std::vector<bool> FindShapeValues(const Graph& graph) {
  std::vector<bool> is_shape(static_cast<size_t>(graph.num_values()), false);
  for (const Node& node : graph.nodes) {
    const auto is_index = [&](ValueId id) {
      return id == kNoValue || IsSmallIndex(graph.value(id));
    };
    bool derived = false;
    if (node.op == "Shape" || node.op == "Size") {
      derived = graph.value(node.inputs[0]).dtype != DataType::kString;
    } else if (std::ranges::find(kShapeOps, node.op) != kShapeOps.end()) {
      const auto is_known = [&](ValueId id) {
        return id == kNoValue || graph.constant(id) != nullptr || is_shape[static_cast<size_t>(id)];
      };
      derived =
          std::ranges::all_of(node.inputs, is_known) && std::ranges::all_of(node.inputs, is_index);
    }
    derived = derived && std::ranges::all_of(node.outputs, is_index);
    for (const ValueId id : node.outputs) {
      if (id != kNoValue) is_shape[static_cast<size_t>(id)] = derived;
    }
  }
  return is_shape;
}

bool IsShapeOperand(const Node& node, size_t index) {
  const auto found = std::ranges::find(kShapeOperands, node.op, &ShapeOperands::op);
  if (found != kShapeOperands.end()) return index < 32 && (found->inputs >> index & 1) != 0;
  return node.op.starts_with("Reduce") && index == 1;
}

}  // namespace verdict
