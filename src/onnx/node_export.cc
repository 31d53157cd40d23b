#include "onnx/node_export.h"

#include "onnx/proto_tensor.h"

namespace verdict {
namespace {

void SetAttribute(onnx::AttributeProto& proto, int64_t value) {
  proto.set_type(onnx::AttributeProto::INT);
  proto.set_i(value);
}
void SetAttribute(onnx::AttributeProto& proto, float value) {
  proto.set_type(onnx::AttributeProto::FLOAT);
  proto.set_f(value);
}
void SetAttribute(onnx::AttributeProto& proto, const std::string& value) {
  proto.set_type(onnx::AttributeProto::STRING);
  proto.set_s(value);
}
void SetAttribute(onnx::AttributeProto& proto, const std::vector<int64_t>& values) {
  proto.set_type(onnx::AttributeProto::INTS);
  proto.mutable_ints()->Add(values.begin(), values.end());
}
void SetAttribute(onnx::AttributeProto& proto, const std::vector<float>& values) {
  proto.set_type(onnx::AttributeProto::FLOATS);
  proto.mutable_floats()->Add(values.begin(), values.end());
}
void SetAttribute(onnx::AttributeProto& proto, const std::vector<std::string>& values) {
  proto.set_type(onnx::AttributeProto::STRINGS);
  for (const std::string& value : values) proto.add_strings(value);
}

}  // namespace

ExportedGraph::ExportedGraph(const Graph& graph, onnx::GraphProto& proto)
    : graph(graph), proto_(proto) {
  for (ValueId id = 0; id < graph.num_values(); ++id) value_names_[graph.value(id).name] = 0;
  // An output that is a constant gives its name to the node that copies it.
  for (ValueId id : graph.outputs) {
    if (const Constant* constant = graph.constant(id)) {
      const std::string name = NewValueName(graph.value(id).name);
      AddInitializer(name, *constant);
      initializers_[id] = name;
    }
  }
}

std::string ExportedGraph::Unique(Names& taken, const std::string& base) {
  if (taken.emplace(base, 0).second) return base;
  for (;;) {
    const std::string name = base + "_" + std::to_string(++taken[base]);
    if (taken.emplace(name, 0).second) return name;
  }
}

std::string ExportedGraph::NameOf(ValueId id) {
  if (id == kNoValue) return "";
  const std::string& name = graph.value(id).name;
  const Constant* constant = graph.constant(id);
  if (constant == nullptr) return name;
  const auto [entry, is_new] = initializers_.emplace(id, name);
  if (is_new) AddInitializer(name, *constant);
  return entry->second;
}

void ExportedGraph::AddInitializer(const std::string& name, const Constant& constant) {
  *proto_.add_initializer() = TensorFromConstant(name, constant);
}

void ExportedGraph::MakeOutput(ValueId id) {
  if (graph.constant(id) == nullptr) return;
  onnx::NodeProto& copy = AddNode();
  copy.set_op_type("Identity");
  copy.set_name(NewNodeName(graph.value(id).name));
  copy.add_input(initializers_.at(id));
  copy.add_output(graph.value(id).name);
}

NodeExport::NodeExport(ExportedGraph& exported, const Node& node)
    : graph(exported.graph), node(node), attributes(node.attributes), exported_(exported) {
  for (ValueId id : node.outputs) {
    if (id != kNoValue && base_.empty()) base_ = graph.value(id).name;
  }
}

Result<const Constant*> NodeExport::RequireConstant(size_t index, std::string_view what) const {
  const Constant* constant = ConstantInput(index);
  if (constant != nullptr) return constant;
  return Unsupported(std::string(what) + " must be constant to be said in ai.onnx 17");
}

std::string NodeExport::Input(size_t index) {
  return has_input(index) ? exported_.NameOf(node.inputs[index]) : "";
}

std::string NodeExport::Output(size_t index) {
  return has_output(index) ? exported_.NameOf(node.outputs[index]) : "";
}

std::vector<std::string> NodeExport::Inputs() {
  std::vector<std::string> names;
  for (ValueId id : node.inputs) names.push_back(exported_.NameOf(id));
  return names;
}

std::vector<std::string> NodeExport::Outputs() {
  std::vector<std::string> names;
  for (ValueId id : node.outputs) names.push_back(exported_.NameOf(id));
  return names;
}

std::string NodeExport::NewName(std::string_view suffix) {
  return exported_.NewValueName(base_ + "/" + std::string(suffix));
}

std::string NodeExport::AddConstant(std::string_view suffix, const Constant& constant) {
  const std::string name = NewName(suffix);
  exported_.AddInitializer(name, constant);
  return name;
}

std::string NodeExport::AddInts(std::string_view suffix, const std::vector<int64_t>& values) {
  return AddConstant(suffix, Constant::Of<int64_t>({static_cast<Dim>(values.size())}, values));
}

std::string NodeExport::AddNumbers(std::string_view suffix, const Shape& shape,
                                   const std::vector<double>& values) {
  if (input(0).dtype == DataType::kFloat64) {
    return AddConstant(suffix, Constant::Of<double>(shape, values));
  }
  std::vector<float> floats;
  for (double value : values) floats.push_back(static_cast<float>(value));
  return AddConstant(suffix, Constant::Of<float>(shape, floats));
}

onnx::NodeProto& NodeExport::Emit(std::string_view op, const std::vector<std::string>& inputs,
                                  const std::vector<std::string>& outputs,
                                  const Attributes& node_attributes, std::string_view domain) {
  onnx::NodeProto& proto = exported_.AddNode();
  proto.set_op_type(std::string(op));
  proto.set_domain(std::string(domain));
  if (!domain.empty()) exported_.uses_ml = true;
  proto.set_name(exported_.NewNodeName(node.name.empty() ? base_ : node.name));
  for (const std::string& name : inputs) proto.add_input(name);
  for (const std::string& name : outputs) proto.add_output(name);
  for (const auto& [name, attribute] : node_attributes) {
    onnx::AttributeProto& added = *proto.add_attribute();
    added.set_name(name);
    std::visit([&](const auto& value) { SetAttribute(added, value); }, attribute);
  }
  return proto;
}

std::string NodeExport::EmitValue(std::string_view op, const std::vector<std::string>& inputs,
                                  const Attributes& node_attributes) {
  std::string name = NewName(op);
  Emit(op, inputs, {name}, node_attributes);
  return name;
}

void NodeExport::EmitOutput(std::string_view op, const std::vector<std::string>& inputs,
                            const Attributes& node_attributes) {
  Emit(op, inputs, {Output(0)}, node_attributes);
}

Status NodeExport::Unsupported(const std::string& message, std::source_location place) const {
  return Unimplemented(Graph::Describe(node) + ": cannot be exported: " + message, place);
}

}  // namespace verdict
