#include "onnx/graph_builder.h"

#include <algorithm>
#include <set>

#include "onnx/opset_table.h"
#include "onnx/proto_tensor.h"
#include "ops/cast.h"
#include "ops/verify.h"

namespace verdict {
namespace {

/// Functions that call functions, and branches in branches.
constexpr int kMaxDepth = 64;
/// What all expansions of functions and branches together may add: a few lines of a file can stand
/// for any number of nodes. A node costs its size in the file, its name, and itself.
constexpr size_t kMaxExpandedBytes = size_t{64} << 20;
constexpr size_t kNodeBytes = 256;

std::string Canonical(const std::string& domain) { return domain == "ai.onnx" ? "" : domain; }

std::string FunctionKey(const std::string& domain, const std::string& name,
                        const std::string& overload) {
  return Canonical(domain) + "\n" + name + "\n" + overload;
}

Status CheckVersion(const std::string& domain, int64_t version) {
  if (domain == kOnnxDomain && (version < kMinOpset || version > kMaxOpset)) {
    return Unimplemented("the model uses ai.onnx operator set " + std::to_string(version) +
                         "; supported are " + std::to_string(kMinOpset) + " to " +
                         std::to_string(kMaxOpset) +
                         ": export with opset 17 (in PyTorch: opset_version=17, in skl2onnx: "
                         "target_opset=17)");
  }
  if (domain == kMlDomain && (version < 1 || version > kMaxMlOpset)) {
    return Unimplemented("the model uses ai.onnx.ml operator set " + std::to_string(version) +
                         "; supported are 1 to " + std::to_string(kMaxMlOpset) +
                         ": export with ai.onnx.ml opset 3");
  }
  return OkStatus();
}

const onnx::TypeProto::Tensor* TensorType(const onnx::ValueInfoProto& info) {
  return info.type().has_tensor_type() ? &info.type().tensor_type() : nullptr;
}

Status RenameToOutput(Graph& graph, ValueId id, const std::string& name) {
  if (const ValueId taken = graph.FindValue(name); taken != kNoValue && taken != id) {
    if (std::ranges::find(graph.inputs, taken) != graph.inputs.end()) {
      return Unimplemented("output '" + name +
                           "' has the name of an input; put an Identity node between them and "
                           "give the output a name of its own");
    }
    graph.RenameValue(taken, "");
  }
  graph.RenameValue(id, name);
  return OkStatus();
}

}  // namespace

Result<OpsetVersions> ReadOpsets(
    const google::protobuf::RepeatedPtrField<onnx::OperatorSetIdProto>& imports) {
  OpsetVersions versions;
  for (const auto& import : imports) {
    const std::string domain = Canonical(import.domain());
    VERDICT_RETURN_IF_ERROR(CheckVersion(domain, import.version()));
    const auto [entry, is_new] = versions.emplace(domain, import.version());
    if (!is_new && entry->second != import.version()) {
      return InvalidArgument("operator set '" + import.domain() + "' is imported as version " +
                             std::to_string(entry->second) + " and as version " +
                             std::to_string(import.version()));
    }
  }
  return versions;
}

Result<Graph> GraphBuilder::Build() {
  onnx::GraphProto& graph = *model_.mutable_graph();
  Scope scope;
  if (model_.opset_import_size() == 0) {
    return InvalidArgument(
        "the model does not say which operator set it uses (opset_import is empty); export it "
        "again "
        "with opset 17");
  }
  VERDICT_ASSIGN_OR_RETURN(scope.opsets, ReadOpsets(model_.opset_import()));
  VERDICT_RETURN_IF_ERROR(ReadFunctions());
  graph_.name = graph.name();
  VERDICT_RETURN_IF_ERROR(AddInputs(graph, scope));
  VERDICT_RETURN_IF_ERROR(AddInitializers(graph, scope));
  graph.clear_initializer();
  VERDICT_RETURN_IF_ERROR(AddNodes(graph.node(), scope));
  VERDICT_RETURN_IF_ERROR(SetOutputs(graph, scope));
  VERDICT_RETURN_IF_ERROR(VerifyGraph(graph_));
  VERDICT_RETURN_IF_ERROR(CheckOutputs(graph));
  return std::move(graph_);
}

Status GraphBuilder::ReadFunctions() {
  for (const auto& function : model_.functions()) {
    const std::string key = FunctionKey(function.domain(), function.name(), function.overload());
    if (!functions_.emplace(key, &function).second) {
      return InvalidArgument("function '" + function.name() + "' of domain '" + function.domain() +
                             "' is defined twice");
    }
  }
  return OkStatus();
}

Result<Shape> GraphBuilder::ReadShape(const onnx::TensorShapeProto& proto) {
  if (proto.dim_size() > Shape::kMaxRank) {
    return Unimplemented("has " + std::to_string(proto.dim_size()) +
                         " dimensions; at most 8 are supported");
  }
  Shape shape;
  for (const auto& dim : proto.dim()) {
    if (dim.has_dim_value()) {
      if (dim.dim_value() < 0) {
        return InvalidArgument("has the negative extent " + std::to_string(dim.dim_value()) +
                               "; name a dimension that varies (dim_param) instead");
      }
      if (dim.dim_value() > kMaxExtent) {
        return InvalidArgument("has the extent " + std::to_string(dim.dim_value()));
      }
      shape.push_back(dim.dim_value());
    } else {
      shape.push_back(dim.dim_param().empty() ? graph_.NewSymbol()
                                              : graph_.Symbol(dim.dim_param()));
    }
  }
  return shape;
}

Status GraphBuilder::AddInputs(const onnx::GraphProto& graph, Scope& scope) {
  std::set<std::string_view> initialized;
  for (const auto& tensor : graph.initializer()) initialized.insert(tensor.name());
  // Named symbols first, so that no made-up name is one of theirs.
  for (const auto& input : graph.input()) {
    for (const auto& dim : input.type().tensor_type().shape().dim()) {
      if (!dim.dim_param().empty()) graph_.Symbol(dim.dim_param());
    }
  }
  for (const auto& input : graph.input()) {
    const std::string where = "input '" + input.name() + "'";
    if (initialized.contains(input.name())) continue;  // old files list their weights
    if (input.name().empty()) return InvalidArgument("an input has no name");
    if (scope.values.contains(input.name())) return InvalidArgument(where + " comes twice");
    const onnx::TypeProto::Tensor* type = TensorType(input);
    if (type == nullptr) {
      return Unimplemented(where +
                           " is not a tensor; sequences, maps and optional inputs are not "
                           "supported");
    }
    const DataType dtype = DataTypeFromOnnx(type->elem_type());
    if (dtype == DataType::kUndefined) {
      return Unimplemented(where + " has the element type " + OnnxTypeName(type->elem_type()) +
                           ", which is not supported");
    }
    if (!type->has_shape()) {
      return InvalidArgument(
          where +
          " has no shape, so that its rank is not known; declare the shape, with "
          "names for the dimensions that vary");
    }
    auto shape = ReadShape(type->shape());
    if (!shape.ok()) return shape.status().WithContext(where);
    scope.values.emplace(input.name(), graph_.AddInput(input.name(), dtype, *shape));
  }
  return OkStatus();
}

Status GraphBuilder::AddInitializers(const onnx::GraphProto& graph, Scope& scope) {
  if (graph.sparse_initializer_size() > 0) {
    return Unimplemented("sparse initializer '" + graph.sparse_initializer(0).values().name() +
                         "': sparse tensors are not supported; store it densely");
  }
  for (const auto& tensor : graph.initializer()) {
    if (tensor.name().empty()) return InvalidArgument("an initializer has no name");
    if (IsDefined(scope, tensor.name())) {
      return InvalidArgument("initializer '" + tensor.name() + "' comes twice");
    }
    VERDICT_ASSIGN_OR_RETURN(Constant constant, ConstantFromProto(tensor, external_));
    scope.values.emplace(tensor.name(), graph_.AddConstant(tensor.name(), std::move(constant)));
  }
  return OkStatus();
}

bool GraphBuilder::IsDefined(const Scope& scope, const std::string& name) {
  for (const Scope* at = &scope; at != nullptr; at = at->outer) {
    if (at->values.contains(name)) return true;
  }
  return false;
}

Result<ValueId> GraphBuilder::Resolve(const onnx::NodeProto& node, const std::string& name,
                                      const Scope& scope) const {
  if (name.empty()) return kNoValue;
  for (const Scope* at = &scope; at != nullptr; at = at->outer) {
    const auto found = at->values.find(name);
    if (found == at->values.end()) continue;
    const auto refused = refused_outputs_.find(found->second);
    if (refused == refused_outputs_.end()) return found->second;
    return Unimplemented(DescribeProto(node) + ": reads '" + name +
                         "', which is not there: " + refused->second);
  }
  return InvalidArgument(DescribeProto(node) + ": '" + name + "' is never made");
}

Status GraphBuilder::AddNodes(const NodeProtos& nodes, Scope& scope) {
  VERDICT_ASSIGN_OR_RETURN(
      const std::vector<int> order,
      OrderNodes(nodes, [&](const std::string& name) { return IsDefined(scope, name); }));
  for (int index : order) VERDICT_RETURN_IF_ERROR(AddNode(nodes[index], scope));
  return OkStatus();
}

Status GraphBuilder::AddNode(const onnx::NodeProto& node, Scope& scope) {
  const std::string domain = Canonical(node.domain());
  const auto function = functions_.find(FunctionKey(domain, node.op_type(), node.overload()));
  if (function != functions_.end()) return ExpandFunction(node, *function->second, scope);
  if (domain != kOnnxDomain && domain != kMlDomain && domain != kMicrosoftDomain) {
    return Unimplemented(DescribeProto(node) + ": the operator domain '" + domain +
                         "' is not supported, and the model has no function of that name; export "
                         "with the standard operators only");
  }
  if (!scope.opsets.contains(domain)) {
    return InvalidArgument(DescribeProto(node) + ": the model does not import the operator set '" +
                           (domain.empty() ? "ai.onnx" : domain) + "' that this node is of");
  }
  if (domain == kOnnxDomain && node.op_type() == "If") return ExpandIf(node, scope);
  return Translate(node, domain, scope);
}

Status GraphBuilder::Translate(const onnx::NodeProto& node, const std::string& domain,
                               Scope& scope) {
  const int64_t version = scope.opsets.find(domain)->second;
  const auto handler = FindHandler(domain, node.op_type(), version);
  const Node described{.name = scope.prefix + NameOf(node), .op = node.op_type()};
  if (!handler.ok()) return handler.status().WithContext(Graph::Describe(described));
  NodeTranslation translation(graph_, inference_, version);
  translation.node = described;
  for (const std::string& name : node.input()) {
    VERDICT_ASSIGN_OR_RETURN(const ValueId id, Resolve(node, name, scope));
    translation.node.inputs.push_back(id);
  }
  VERDICT_RETURN_IF_ERROR(ReadAttributes(node, scope.binding, external_, translation));
  for (const std::string& name : node.output()) {
    ValueId id = kNoValue;
    if (!name.empty()) {
      id = graph_.AddValue(name, DataType::kUndefined, {});
      scope.values.emplace(name, id);
    }
    translation.node.outputs.push_back(id);
  }
  const auto trim = [](std::vector<ValueId>& ids) {
    while (!ids.empty() && ids.back() == kNoValue) ids.pop_back();
  };
  trim(translation.node.inputs);
  if (std::ranges::count(translation.node.outputs, kNoValue) ==
      std::ssize(translation.node.outputs)) {
    return OkStatus();  // nobody can see what it does
  }
  // The number of its outputs says how a Split splits.
  if (node.op_type() != "Split") trim(translation.node.outputs);
  VERDICT_RETURN_IF_ERROR((*handler)(translation));
  refused_outputs_.merge(translation.refused_outputs);
  return OkStatus();
}

Status GraphBuilder::SpendExpansion(const NodeProtos& nodes, const onnx::NodeProto& caller,
                                    const Scope& inner) {
  for (const auto& node : nodes) {
    expanded_bytes_ += node.ByteSizeLong() + inner.prefix.size() + kNodeBytes;
  }
  if (expanded_bytes_ <= kMaxExpandedBytes) return OkStatus();
  return ResourceExhausted(DescribeProto(caller) +
                           ": the model's functions expand to more than 64 MiB");
}

Status GraphBuilder::BindOutputs(const onnx::NodeProto& node, const std::vector<std::string>& from,
                                 const Scope& inner, Scope& scope) {
  if (node.output_size() > static_cast<int>(from.size())) {
    return InvalidArgument(DescribeProto(node) + ": has " + std::to_string(node.output_size()) +
                           " outputs, but its body makes " + std::to_string(from.size()));
  }
  for (int i = 0; i < node.output_size(); ++i) {
    if (node.output(i).empty()) continue;
    VERDICT_ASSIGN_OR_RETURN(const ValueId id, Resolve(node, from[static_cast<size_t>(i)], inner));
    scope.values.emplace(node.output(i), id);
  }
  return OkStatus();
}

Status GraphBuilder::ExpandIf(const onnx::NodeProto& node, Scope& scope) {
  if (node.input_size() != 1) return InvalidArgument(DescribeProto(node) + ": needs one input");
  VERDICT_ASSIGN_OR_RETURN(const ValueId condition, Resolve(node, node.input(0), scope));
  if (condition == kNoValue) return InvalidArgument(DescribeProto(node) + ": needs a condition");
  const TensorView known = inference_.Known(condition);
  if (known.data == nullptr || known.dtype != DataType::kBool || known.size() != 1) {
    return Unimplemented(
        DescribeProto(node) +
        ": conditions that depend on the input are not supported; export without data-dependent "
        "branches");
  }
  const std::string wanted = known.as<const bool>()[0] ? "then_branch" : "else_branch";
  const onnx::GraphProto* branch = nullptr;
  for (const auto& attribute : node.attribute()) {
    const onnx::AttributeProto* resolved = ResolveAttribute(attribute, scope.binding);
    if (resolved != nullptr && attribute.name() == wanted && resolved->has_g()) {
      branch = &resolved->g();
    }
  }
  if (branch == nullptr) {
    return InvalidArgument(DescribeProto(node) + ": the attribute '" + wanted + "' is missing");
  }
  if (scope.depth >= kMaxDepth) {
    return ResourceExhausted(DescribeProto(node) + ": more than 64 branches inside each other");
  }
  Scope inner{.outer = &scope,
              .opsets = scope.opsets,
              .binding = scope.binding,
              .prefix = scope.prefix + NameOf(node) + "/",
              .depth = scope.depth + 1};
  VERDICT_RETURN_IF_ERROR(SpendExpansion(branch->node(), node, inner));
  VERDICT_RETURN_IF_ERROR(AddInitializers(*branch, inner));
  VERDICT_RETURN_IF_ERROR(AddNodes(branch->node(), inner));
  std::vector<std::string> outputs;
  for (const auto& output : branch->output()) outputs.push_back(output.name());
  return BindOutputs(node, outputs, inner, scope);
}

Status GraphBuilder::ExpandFunction(const onnx::NodeProto& node,
                                    const onnx::FunctionProto& function, Scope& scope) {
  if (scope.depth >= kMaxDepth) {
    return ResourceExhausted(DescribeProto(node) +
                             ": functions call each other more than 64 deep, or in a circle");
  }
  AttributeBinding binding;
  for (const auto& attribute : function.attribute_proto()) {
    binding[attribute.name()] = &attribute;
  }
  for (const auto& attribute : node.attribute()) {
    const onnx::AttributeProto* resolved = ResolveAttribute(attribute, scope.binding);
    if (resolved != nullptr) binding[attribute.name()] = resolved;
  }
  Scope body{
      .binding = &binding, .prefix = scope.prefix + NameOf(node) + "/", .depth = scope.depth + 1};
  auto opsets = ReadOpsets(function.opset_import());
  if (!opsets.ok()) return opsets.status().WithContext("function '" + function.name() + "'");
  body.opsets = *std::move(opsets);
  if (node.input_size() > function.input_size()) {
    return InvalidArgument(DescribeProto(node) + ": the function takes " +
                           std::to_string(function.input_size()) + " inputs, not " +
                           std::to_string(node.input_size()));
  }
  for (int i = 0; i < function.input_size(); ++i) {
    ValueId id = kNoValue;
    if (i < node.input_size()) {
      VERDICT_ASSIGN_OR_RETURN(id, Resolve(node, node.input(i), scope));
    }
    if (!body.values.emplace(function.input(i), id).second) {
      return InvalidArgument("function '" + function.name() + "': input '" + function.input(i) +
                             "' comes twice");
    }
  }
  VERDICT_RETURN_IF_ERROR(SpendExpansion(function.node(), node, body));
  VERDICT_RETURN_IF_ERROR(AddNodes(function.node(), body));
  return BindOutputs(node, {function.output().begin(), function.output().end()}, body, scope);
}

Status GraphBuilder::SetOutputs(const onnx::GraphProto& graph, const Scope& scope) {
  std::set<std::string_view> listed;
  for (const auto& output : graph.output()) {
    const auto found = scope.values.find(output.name());
    if (found == scope.values.end() || found->second == kNoValue) {
      return InvalidArgument("output '" + output.name() + "' is never made");
    }
    if (!listed.insert(output.name()).second) {
      return InvalidArgument("output '" + output.name() + "' is listed twice");
    }
    ValueId id = found->second;
    if (const auto refused = refused_outputs_.find(id); refused != refused_outputs_.end()) {
      return Unimplemented("output '" + output.name() + "' cannot be made: " + refused->second);
    }
    const bool is_input = std::ranges::find(graph_.inputs, id) != graph_.inputs.end();
    const bool is_output = std::ranges::find(graph_.outputs, id) != graph_.outputs.end();
    if (is_input || is_output || graph_.constant(id) != nullptr) {
      // The engine writes each output to a buffer of its own.
      const ValueId copy = graph_.AddValue("", DataType::kUndefined, {});
      graph_.nodes.push_back(
          {.name = output.name(), .op = "Identity", .inputs = {id}, .outputs = {copy}});
      VERDICT_RETURN_IF_ERROR(inference_.Visit(graph_.nodes.back()));
      id = copy;
    }
    VERDICT_RETURN_IF_ERROR(RenameToOutput(graph_, id, output.name()));
    graph_.outputs.push_back(id);
  }
  return OkStatus();
}

Status GraphBuilder::CheckOutputs(const onnx::GraphProto& graph) const {
  for (int i = 0; i < graph.output_size(); ++i) {
    const Value& value = graph_.value(graph_.outputs[static_cast<size_t>(i)]);
    const onnx::TypeProto::Tensor* declared = TensorType(graph.output(i));
    if (declared == nullptr) continue;  // not declared, or the map that ZipMap would have made
    const std::string where = "output '" + value.name + "'";
    if (declared->elem_type() != onnx::TensorProto::UNDEFINED &&
        DataTypeFromOnnx(declared->elem_type()) != value.dtype) {
      return InvalidArgument(where + " is declared as " + OnnxTypeName(declared->elem_type()) +
                             ", but the model computes " + std::string(DataTypeName(value.dtype)));
    }
    if (!declared->has_shape()) continue;
    bool fits = declared->shape().dim_size() == value.shape.rank();
    for (int axis = 0; fits && axis < value.shape.rank(); ++axis) {
      const auto& dim = declared->shape().dim(axis);
      const Dim extent = value.shape[axis];
      fits = !dim.has_dim_value() || IsSymbol(extent) || dim.dim_value() == extent;
    }
    if (!fits) {
      std::string dims;
      for (const auto& dim : declared->shape().dim()) {
        dims += (dims.empty() ? "" : ",") +
                (dim.has_dim_value() ? std::to_string(dim.dim_value()) : dim.dim_param());
      }
      return InvalidArgument(where + " has the shape " + graph_.ShapeText(value.shape) +
                             ", but the model declares [" + dims +
                             "]; export the model again, or correct the declaration");
    }
  }
  return OkStatus();
}

}  // namespace verdict
