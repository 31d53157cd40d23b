#include "onnx/export.h"

#include <limits>

#include "onnx/export_quantization.h"
#include "onnx/export_table.h"
#include "onnx/node_export.h"
#include "onnx/opset_table.h"
#include "onnx/proto.h"
#include "onnx/proto_tensor.h"

namespace verdict {
namespace {

constexpr int64_t kIrVersion = 8;
/// Protobuf ends at 2 GiB; names and nodes need some of it.
constexpr uint64_t kMaxConstantBytes = std::numeric_limits<int32_t>::max() - (uint64_t{64} << 20);

void Declare(const Graph& graph, ValueId id, onnx::ValueInfoProto& info) {
  const Value& value = graph.value(id);
  info.set_name(value.name);
  auto* type = info.mutable_type()->mutable_tensor_type();
  type->set_elem_type(OnnxTypeOf(value.dtype));
  auto* shape = type->mutable_shape();
  for (Dim dim : value.shape.dims()) {
    if (IsSymbol(dim)) {
      shape->add_dim()->set_dim_param(graph.SymbolName(dim));
    } else {
      shape->add_dim()->set_dim_value(dim);
    }
  }
}

void ImportOpset(onnx::ModelProto& model, std::string_view domain, int64_t version) {
  auto* opset = model.add_opset_import();
  opset->set_domain(std::string(domain));
  opset->set_version(version);
}

}  // namespace

Result<std::string> ExportOnnx(const Graph& original, const ExportOptions& options) {
  VERDICT_ASSIGN_OR_RETURN(const Graph graph, ForOtherRuntimes(original));
  if (const uint64_t bytes = graph.ConstantBytes(); bytes > kMaxConstantBytes) {
    return ResourceExhausted("the model has " + std::to_string(bytes) +
                             " bytes of constants; an ONNX file ends at 2 GiB");
  }
  onnx::ModelProto model;
  model.set_ir_version(kIrVersion);
  model.set_producer_name("verdict");
  model.set_producer_version(options.producer_version);
  onnx::GraphProto& proto = *model.mutable_graph();
  proto.set_name(graph.name.empty() ? "graph" : graph.name);  // the checker wants a name
  ExportedGraph exported(graph, proto);
  for (ValueId id : graph.inputs) Declare(graph, id, *proto.add_input());
  for (const Node& node : graph.nodes) {
    VERDICT_ASSIGN_OR_RETURN(const ExportHandler handler, FindExportHandler(node));
    NodeExport node_export(exported, node);
    VERDICT_RETURN_IF_ERROR(handler(node_export));
  }
  for (ValueId id : graph.outputs) {
    Declare(graph, id, *proto.add_output());
    exported.MakeOutput(id);
  }
  ImportOpset(model, kOnnxDomain, kExportOpset);
  if (exported.uses_ml) ImportOpset(model, kMlDomain, kExportMlOpset);
  for (const auto& [key, value] : options.properties) {
    auto* property = model.add_metadata_props();
    property->set_key(key);
    property->set_value(value);
  }
  std::string bytes;
  if (model.ByteSizeLong() > static_cast<size_t>(std::numeric_limits<int32_t>::max()) ||
      !model.SerializeToString(&bytes)) {
    return ResourceExhausted("the model is larger than an ONNX file's 2 GiB");
  }
  return bytes;
}

}  // namespace verdict
