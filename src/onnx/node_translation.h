#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ir/graph.h"
#include "ops/infer.h"

namespace verdict {

/// One ONNX node on its way into the graph. A handler of the opset table changes `node` to the
/// newest semantics, emits nodes before it where one is not enough, and ends with Emit(). Values
/// emitted so far have their types and shapes, so that handlers can look at them.
class NodeTranslation {
 public:
  /// inference: has seen all that is in the graph so far.
  NodeTranslation(Graph& graph, ShapeInference& inference, int64_t version)
      : version(version), graph_(graph), inference_(inference) {}

  /// As in the ONNX file, with inputs and outputs of the graph. Trailing absent ones are trimmed.
  /// Attributes that are tensors are in `tensors`.
  Node node;
  std::map<std::string, Constant, std::less<>> tensors;
  /// Version of the operator set that the node is of.
  const int64_t version;
  /// Outputs that the graph cannot make, and why: an error for whoever reads them.
  std::map<ValueId, std::string> refused_outputs;

  bool has_input(size_t index) const {
    return index < node.inputs.size() && node.inputs[index] != kNoValue;
  }
  bool has_output(size_t index) const {
    return index < node.outputs.size() && node.outputs[index] != kNoValue;
  }
  /// The value an input reads. Errors: kInvalidArgument if it is left out.
  Result<const Value*> Input(size_t index) const;
  /// The constant an input reads, or null.
  const Constant* ConstantInput(size_t index) const {
    return has_input(index) ? graph_.constant(node.inputs[index]) : nullptr;
  }
  const Value& value(ValueId id) const { return graph_.value(id); }

  bool Has(std::string_view name) const {
    return node.attributes.contains(name) || tensors.contains(name);
  }
  /// Takes an attribute away from the node. Errors: kInvalidArgument if it has another type.
  template <typename T>
  Result<std::optional<T>> Take(std::string_view name) {
    const auto found = node.attributes.find(name);
    if (found == node.attributes.end()) return std::optional<T>();
    T* value = std::get_if<T>(&found->second);
    if (value == nullptr) return WrongType(name);
    std::optional<T> taken(std::move(*value));
    node.attributes.erase(found);
    return taken;
  }
  template <typename T>
  Result<T> TakeOr(std::string_view name, T fallback) {
    VERDICT_ASSIGN_OR_RETURN(auto taken, Take<T>(name));
    return taken.has_value() ? std::move(*taken) : std::move(fallback);
  }
  /// Takes a tensor attribute away.
  std::optional<Constant> TakeTensor(std::string_view name);
  /// Takes a whole number that must be one of a few: most often the value that changes nothing.
  Status RequireInt(std::string_view name, int64_t value, std::string_view otherwise);

  /// A constant named after the node.
  ValueId AddConstant(std::string_view suffix, Constant constant);
  ValueId AddInts(std::string_view suffix, const std::vector<int64_t>& values);
  /// Puts `id` at input `index`, with absent inputs before it where there are fewer.
  void SetInput(size_t index, ValueId id);

  /// Adds `added` to the graph and infers its outputs' types. Its name, where empty, is this
  /// node's. Attributes that its operator does not have are dropped where they change nothing, and
  /// are an error otherwise.
  Status Emit(Node added);
  /// Emits a node with one new output and returns that.
  Result<ValueId> EmitValue(std::string op, std::vector<ValueId> inputs,
                            Attributes attributes = {});
  /// Emits `node` as it is now.
  Status EmitNode() { return Emit(std::move(node)); }
  /// Makes `node`'s output `index` a constant.
  void SetConstantOutput(size_t index, Constant constant);
  /// Marks an output that cannot be made.
  void RefuseOutput(size_t index, std::string reason);

  /// kInvalidArgument or kUnimplemented, with the node's description first.
  Status Error(std::string message,
               std::source_location place = std::source_location::current()) const;
  Status Unsupported(std::string message,
                     std::source_location place = std::source_location::current()) const;

 private:
  Status WrongType(std::string_view name) const;

  Graph& graph_;
  ShapeInference& inference_;
};

/// Translates one operator. The table picks it by domain, name and version.
using NodeHandler = Status (*)(NodeTranslation& translation);

}  // namespace verdict
