#include "ops/verify.h"

#include <set>

#include "ops/op.h"

namespace verdict {
namespace {

bool HasType(const Attribute& attribute, AttributeType type) {
  return attribute.index() == static_cast<size_t>(type);
}

Status CheckAttributes(const Node& node, const OpDef& op) {
  for (const auto& [name, attribute] : node.attributes) {
    const AttributeSpec* spec = nullptr;
    for (const AttributeSpec& candidate : op.attributes) {
      if (candidate.name == name) spec = &candidate;
    }
    if (spec == nullptr) {
      return InvalidArgument(Graph::Describe(node) + ": unknown attribute '" + name + "'");
    }
    if (!HasType(attribute, spec->type)) {
      return InvalidArgument(Graph::Describe(node) + ": attribute '" + name +
                             "' has the wrong type");
    }
  }
  for (const AttributeSpec& spec : op.attributes) {
    if (spec.required && !node.attributes.contains(spec.name)) {
      return InvalidArgument(Graph::Describe(node) + ": attribute '" + std::string(spec.name) +
                             "' is missing");
    }
  }
  return OkStatus();
}

Status CheckCount(const Node& node, const char* what, size_t count, int min, int max) {
  if (static_cast<int64_t>(count) >= min && static_cast<int64_t>(count) <= max) return OkStatus();
  std::string expected = std::to_string(min);
  if (max == kVariadic) {
    expected += " or more";
  } else if (max != min) {
    expected += " to " + std::to_string(max);
  }
  return InvalidArgument(Graph::Describe(node) + ": has " + std::to_string(count) + " " + what +
                         ", needs " + expected);
}

}  // namespace

Status VerifyNode(const Node& node) {
  const OpDef* op = FindOp(node.op);
  if (op == nullptr) {
    return Unimplemented(Graph::Describe(node) + ": this operator is not supported");
  }
  VERDICT_RETURN_IF_ERROR(
      CheckCount(node, "inputs", node.inputs.size(), op->min_inputs, op->max_inputs));
  VERDICT_RETURN_IF_ERROR(
      CheckCount(node, "outputs", node.outputs.size(), op->min_outputs, op->max_outputs));
  for (int i = 0; i < op->min_inputs; ++i) {
    if (node.inputs[static_cast<size_t>(i)] == kNoValue) {
      return InvalidArgument(Graph::Describe(node) + ": input " + std::to_string(i) +
                             " is missing");
    }
  }
  return CheckAttributes(node, *op);
}

Status VerifyGraph(const Graph& graph) {
  const auto in_range = [&](ValueId id) { return id >= 0 && id < graph.num_values(); };
  std::vector<bool> defined(static_cast<size_t>(graph.num_values()), false);
  std::set<std::string_view> names;
  for (ValueId id = 0; id < graph.num_values(); ++id) {
    const Value& value = graph.value(id);
    if (value.name.empty() || !names.insert(value.name).second) {
      return InvalidArgument("value name '" + value.name + "' is empty or used twice");
    }
    defined[static_cast<size_t>(id)] = value.constant != nullptr;
  }
  for (ValueId id : graph.inputs) {
    if (!in_range(id)) return InvalidArgument("a graph input is out of range");
    if (defined[static_cast<size_t>(id)]) {
      return InvalidArgument("graph input '" + graph.value(id).name + "' is defined twice");
    }
    defined[static_cast<size_t>(id)] = true;
  }
  for (const Node& node : graph.nodes) {
    VERDICT_RETURN_IF_ERROR(VerifyNode(node));
    for (ValueId id : node.inputs) {
      if (id == kNoValue) continue;
      if (!in_range(id))
        return InvalidArgument(Graph::Describe(node) + ": an input is out of range");
      if (!defined[static_cast<size_t>(id)]) {
        return InvalidArgument(Graph::Describe(node) + ": reads '" + graph.value(id).name +
                               "' before it is made");
      }
    }
    if (const OpDef* op = FindOp(node.op); op->verify != nullptr) {
      VERDICT_RETURN_IF_ERROR(op->verify(graph, node));
    }
    bool any_output = false;
    for (ValueId id : node.outputs) {
      if (id == kNoValue) continue;
      any_output = true;
      if (!in_range(id)) {
        return InvalidArgument(Graph::Describe(node) + ": an output is out of range");
      }
      if (defined[static_cast<size_t>(id)]) {
        return InvalidArgument(Graph::Describe(node) + ": makes '" + graph.value(id).name +
                               "', which exists already");
      }
      defined[static_cast<size_t>(id)] = true;
    }
    if (!any_output) return InvalidArgument(Graph::Describe(node) + ": has no output");
  }
  if (graph.outputs.empty()) return InvalidArgument("the graph has no output");
  for (ValueId id : graph.outputs) {
    if (!in_range(id) || !defined[static_cast<size_t>(id)]) {
      return InvalidArgument("a graph output is never made");
    }
  }
  return OkStatus();
}

}  // namespace verdict
