#pragma once

#include <map>
#include <string>
#include <unordered_map>

#include "ir/graph.h"
#include "onnx/attributes.h"
#include "onnx/external_data.h"
#include "onnx/node_order.h"
#include "onnx/node_translation.h"
#include "onnx/proto.h"
#include "ops/infer.h"

namespace verdict {

/// Versions of the imported operator sets by domain ("" for ai.onnx).
using OpsetVersions = std::map<std::string, int64_t, std::less<>>;

/// Checks and collects `imports`. Errors: kUnimplemented for versions of ai.onnx and ai.onnx.ml
/// that are not supported, with the version to export; kInvalidArgument where a domain comes twice.
Result<OpsetVersions> ReadOpsets(
    const google::protobuf::RepeatedPtrField<onnx::OperatorSetIdProto>& imports);

/// Builds the IR of one model. Functions of the model and branches of `If` with a constant
/// condition are expanded in place.
class GraphBuilder {
 public:
  /// model: its tensors are emptied as they are converted, so that there is one copy of the
  /// weights.
  GraphBuilder(onnx::ModelProto& model, ExternalData& external)
      : model_(model), external_(external) {}

  /// Errors: those of the importer, naming the node or tensor.
  Result<Graph> Build();

 private:
  /// The names that a graph, a branch or a function's body can read.
  struct Scope {
    const Scope* outer = nullptr;                     // null for the main graph and for functions
    std::unordered_map<std::string, ValueId> values;  // kNoValue: an argument that was left out
    OpsetVersions opsets;
    const AttributeBinding* binding = nullptr;  // of the function, if any
    std::string prefix;                         // of node names
    int depth = 0;
  };

  Status ReadFunctions();
  Status AddInputs(const onnx::GraphProto& graph, Scope& scope);
  Status AddInitializers(const onnx::GraphProto& graph, Scope& scope);
  Status AddNodes(const NodeProtos& nodes, Scope& scope);
  Status AddNode(const onnx::NodeProto& node, Scope& scope);
  Status Translate(const onnx::NodeProto& node, const std::string& domain, Scope& scope);
  Status ExpandIf(const onnx::NodeProto& node, Scope& scope);
  Status ExpandFunction(const onnx::NodeProto& node, const onnx::FunctionProto& function,
                        Scope& scope);
  Status SetOutputs(const onnx::GraphProto& graph, const Scope& scope);
  Status CheckOutputs(const onnx::GraphProto& graph) const;
  /// Counts `nodes`, about to be added in `inner`. Errors: kResourceExhausted over the limit.
  Status SpendExpansion(const NodeProtos& nodes, const onnx::NodeProto& caller, const Scope& inner);

  Result<Shape> ReadShape(const onnx::TensorShapeProto& shape);
  Result<ValueId> Resolve(const onnx::NodeProto& node, const std::string& name,
                          const Scope& scope) const;
  static bool IsDefined(const Scope& scope, const std::string& name);
  /// Gives the values behind `from` in `inner` the names of the node's outputs.
  Status BindOutputs(const onnx::NodeProto& node, const std::vector<std::string>& from,
                     const Scope& inner, Scope& scope);

  onnx::ModelProto& model_;
  ExternalData& external_;
  Graph graph_;
  ShapeInference inference_{graph_};
  std::map<std::string, const onnx::FunctionProto*> functions_;
  std::map<ValueId, std::string> refused_outputs_;
  size_t expanded_bytes_ = 0;
};

}  // namespace verdict
