#include "tools/same_graph.h"

namespace verdict {
namespace {

std::string ValueText(const Graph& graph, ValueId id) {
  if (id == kNoValue) return "nothing";
  const Value& value = graph.value(id);
  return (value.constant != nullptr ? "constant '" : "'") + value.name + "' " +
         std::string(DataTypeName(value.dtype)) + graph.ShapeText(value.shape);
}

bool IsSameValue(const Graph& a, const Graph& b, ValueId left, ValueId right) {
  if (left != right || left == kNoValue) return left == right;
  const Value &x = a.value(left), &y = b.value(right);
  const bool same_kind = (x.constant == nullptr) == (y.constant == nullptr) && x.dtype == y.dtype;
  return same_kind && a.ShapeText(x.shape) == b.ShapeText(y.shape);
}

std::string DifferenceOfIds(const Graph& a, const Graph& b, const std::vector<ValueId>& left,
                            const std::vector<ValueId>& right) {
  if (left.size() != right.size()) {
    return std::to_string(right.size()) + " values instead of " + std::to_string(left.size());
  }
  for (size_t i = 0; i < left.size(); ++i) {
    if (IsSameValue(a, b, left[i], right[i])) continue;
    const std::string old_text = ValueText(a, left[i]), text = ValueText(b, right[i]);
    if (old_text == text) return text + " as another value than before";
    return text + " instead of " + old_text;
  }
  return "";
}

/// Of the graph's inputs or outputs, whose names count.
std::string DifferenceOfEnds(const Graph& a, const Graph& b, const std::vector<ValueId>& left,
                             const std::vector<ValueId>& right) {
  if (std::string found = DifferenceOfIds(a, b, left, right); !found.empty()) return found;
  for (size_t i = 0; i < left.size(); ++i) {
    const std::string &old_name = a.value(left[i]).name, &name = b.value(right[i]).name;
    if (old_name != name) return "'" + name + "' instead of '" + old_name + "'";
  }
  return "";
}

}  // namespace

std::string DifferenceOfGraphs(const Graph& a, const Graph& b) {
  if (std::string found = DifferenceOfEnds(a, b, a.inputs, b.inputs); !found.empty()) {
    return "its inputs: " + found;
  }
  if (a.nodes.size() != b.nodes.size()) {
    return "it has " + std::to_string(b.nodes.size()) + " nodes instead of " +
           std::to_string(a.nodes.size());
  }
  for (size_t i = 0; i < a.nodes.size(); ++i) {
    const Node &old_node = a.nodes[i], &node = b.nodes[i];
    const std::string where = "node " + std::to_string(i) + ": ";
    if (old_node.op != node.op) return where + node.op + " instead of " + old_node.op;
    if (old_node.attributes != node.attributes) return where + node.op + " with other attributes";
    for (const auto ids : {&Node::inputs, &Node::outputs}) {
      const std::string found = DifferenceOfIds(a, b, old_node.*ids, node.*ids);
      if (!found.empty()) return where + node.op + " of " + found;
    }
  }
  const std::string found = DifferenceOfEnds(a, b, a.outputs, b.outputs);
  return found.empty() ? "" : "its outputs: " + found;
}

}  // namespace verdict
