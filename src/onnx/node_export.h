#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "ir/graph.h"
#include "onnx/proto.h"
#include "ops/op.h"

namespace verdict {

/// The ONNX graph that a graph of ours is written to, and the names in it.
class ExportedGraph {
 public:
  /// proto: empty; outlives this, as `graph` does.
  ExportedGraph(const Graph& graph, onnx::GraphProto& proto);

  const Graph& graph;
  bool uses_ml = false;  // a node is of ai.onnx.ml

  /// The name of a value in the ONNX graph; "" for one left out. A constant becomes an initializer
  /// when it is first asked for.
  std::string NameOf(ValueId id);
  std::string NewValueName(const std::string& base) { return Unique(value_names_, base); }
  std::string NewNodeName(const std::string& base) { return Unique(node_names_, base); }
  void AddInitializer(const std::string& name, const Constant& constant);
  onnx::NodeProto& AddNode() { return *proto_.add_node(); }
  /// Makes an output that no node makes, since it is a constant.
  void MakeOutput(ValueId id);

 private:
  using Names = std::map<std::string, size_t, std::less<>>;  // with the last suffix tried
  static std::string Unique(Names& taken, const std::string& base);

  onnx::GraphProto& proto_;
  Names value_names_;
  Names node_names_;
  std::map<ValueId, std::string> initializers_;
};

/// One node of ours on its way into an ONNX graph: a handler of the export table emits one or more
/// nodes for it.
class NodeExport {
 public:
  NodeExport(ExportedGraph& exported, const Node& node);

  const Graph& graph;
  const Node& node;
  /// A copy of the node's, for the handler to change.
  Attributes attributes;

  AttributeReader reader() const { return AttributeReader(node); }
  bool has_input(size_t index) const {
    return index < node.inputs.size() && node.inputs[index] != kNoValue;
  }
  bool has_output(size_t index) const {
    return index < node.outputs.size() && node.outputs[index] != kNoValue;
  }
  const Value& input(size_t index) const { return graph.value(node.inputs[index]); }
  /// The constant an input reads, or null.
  const Constant* ConstantInput(size_t index) const {
    return has_input(index) ? graph.constant(node.inputs[index]) : nullptr;
  }
  /// As ConstantInput. Errors: kUnimplemented, naming it `what`, where it is not a constant.
  Result<const Constant*> RequireConstant(size_t index, std::string_view what) const;
  /// The names of an input and of an output, "" for what is left out.
  std::string Input(size_t index);
  std::string Output(size_t index);
  std::vector<std::string> Inputs();
  std::vector<std::string> Outputs();

  /// Initializers named after the node.
  std::string AddConstant(std::string_view suffix, const Constant& constant);
  std::string AddInts(std::string_view suffix, const std::vector<int64_t>& values);
  /// `values` in the type of input 0, which is f32 or f64.
  std::string AddNumbers(std::string_view suffix, const Shape& shape,
                         const std::vector<double>& values);
  std::string AddNumber(std::string_view suffix, double value) {
    return AddNumbers(suffix, {}, {value});
  }

  onnx::NodeProto& Emit(std::string_view op, const std::vector<std::string>& inputs,
                        const std::vector<std::string>& outputs,
                        const Attributes& node_attributes = {}, std::string_view domain = "");
  /// Emits a node with one new output and returns that.
  std::string EmitValue(std::string_view op, const std::vector<std::string>& inputs,
                        const Attributes& node_attributes = {});
  /// Emits a node that makes this node's output 0.
  void EmitOutput(std::string_view op, const std::vector<std::string>& inputs,
                  const Attributes& node_attributes = {});
  /// Emits the node as it is, with `attributes`.
  void EmitNode(std::string_view domain = "") {
    Emit(node.op, Inputs(), Outputs(), attributes, domain);
  }
  std::string NewName(std::string_view suffix);

  /// kUnimplemented, with the node's description first.
  Status Unsupported(const std::string& message,
                     std::source_location place = std::source_location::current()) const;

 private:
  ExportedGraph& exported_;
  std::string base_;  // of new names
};

}  // namespace verdict
