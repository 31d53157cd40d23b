#include "backends/tensorrt/builders.h"

#include <algorithm>
#include <set>

#include "ops/op.h"

namespace verdict::tensorrt {
namespace {

/// Whether a symbol is an extent of one of the values.
bool HasSymbol(const Graph& graph, std::span<const ValueId> values, Dim symbol) {
  return std::ranges::any_of(values, [&](ValueId id) {
    return id != kNoValue && std::ranges::count(graph.value(id).shape.dims(), symbol) > 0;
  });
}

}  // namespace

Status Decline(std::string reason) { return Unimplemented(std::move(reason)); }

bool HasInput(const Node& node, size_t input) {
  return input < node.inputs.size() && node.inputs[input] != kNoValue;
}

DataType InputType(const Graph& graph, const Node& node, size_t input) {
  return graph.value(node.inputs[input]).dtype;
}

const Shape& InputShape(const Graph& graph, const Node& node, size_t input) {
  return graph.value(node.inputs[input]).shape;
}

Status RequireFloat32(const Graph& graph, const Node& node) {
  for (const auto& list : {node.inputs, node.outputs}) {
    for (const ValueId id : list) {
      if (id == kNoValue || graph.value(id).dtype == DataType::kFloat32) continue;
      return Decline("only f32 is supported, not " +
                     std::string(DataTypeName(graph.value(id).dtype)));
    }
  }
  return OkStatus();
}

Status RequireMovable(const Graph& graph, const Node& node, size_t input) {
  if (InputType(graph, node, input) != DataType::kInt8) return OkStatus();
  return Decline("i8 is only supported between quantizing layers");
}

Status RequireExactIntegers(const Graph& graph, const Node& node) {
  if (kIndexType != Type::kINT32) return OkStatus();
  for (const ValueId id : node.inputs) {
    if (id == kNoValue || graph.value(id).dtype != DataType::kInt64) continue;
    if (!FromShapes(graph, id)) {
      return Decline("arithmetic of i64, which this TensorRT has as i32");
    }
  }
  return OkStatus();
}

Status RequireConstant(const Graph& graph, const Node& node, size_t input) {
  if (!HasInput(node, input) || graph.constant(node.inputs[input]) != nullptr) return OkStatus();
  return Decline("input " + std::to_string(input) + " must be a constant");
}

Result<std::vector<int64_t>> IntConstant(const Graph& graph, const Node& node, size_t input) {
  const Constant* constant = HasInput(node, input) ? graph.constant(node.inputs[input]) : nullptr;
  if (constant != nullptr && constant->dtype == DataType::kInt64) {
    const auto values = constant->view().as<const int64_t>();
    return std::vector<int64_t>(values.begin(), values.end());
  }
  if (constant != nullptr && constant->dtype == DataType::kInt32) {
    const auto values = constant->view().as<const int32_t>();
    return std::vector<int64_t>(values.begin(), values.end());
  }
  return Decline("input " + std::to_string(input) + " must be a constant");
}

int AxisOf(const Node& node, int64_t fallback, int rank) {
  const int64_t axis = AttributeReader(node).Int("axis", fallback);
  return static_cast<int>(axis < 0 ? axis + rank : axis);
}

bool FromShapes(const Graph& graph, ValueId id) {
  const std::vector<int32_t> producers = graph.Producers();
  std::vector<ValueId> pending{id};
  std::set<ValueId> seen{id};
  while (!pending.empty()) {
    const ValueId next = pending.back();
    pending.pop_back();
    if (graph.constant(next) != nullptr) continue;
    const int32_t producer = producers[static_cast<size_t>(next)];
    if (producer < 0) return false;  // a graph input
    const Node& node = graph.nodes[static_cast<size_t>(producer)];
    if (node.op == "Shape" || node.op == "Size") continue;
    for (const ValueId input : node.inputs) {
      if (input != kNoValue && seen.insert(input).second) pending.push_back(input);
    }
  }
  return true;
}

Status CanReshape(const Graph& graph, const Shape& from, const Shape& to) {
  int unknown = 0;
  int unnamed = 0;
  for (int axis = 0; axis < to.rank(); ++axis) {
    const Dim dim = to[axis];
    if (!IsSymbol(dim) || (axis < from.rank() && from[axis] == dim)) continue;
    ++unknown;
    const bool is_known =
        std::ranges::count(from.dims(), dim) > 0 || HasSymbol(graph, graph.inputs, dim);
    unnamed += is_known ? 0 : 1;
  }
  if (unknown <= 1 || unnamed <= 1) return OkStatus();
  return Decline("more than one extent of the new shape is not known from other shapes");
}

Status RequireKnownSymbols(const Graph& graph, const Node& node, const Shape& shape) {
  for (const Dim dim : shape.dims()) {
    if (!IsSymbol(dim) || HasSymbol(graph, node.inputs, dim) ||
        HasSymbol(graph, graph.inputs, dim)) {
      continue;
    }
    return Decline("the extent '" + graph.SymbolName(dim) + "' is not known from other shapes");
  }
  return OkStatus();
}

}  // namespace verdict::tensorrt
