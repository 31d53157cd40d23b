#include "onnx/import.h"

#include <limits>

#include "base/file.h"
#include "onnx/external_data.h"
#include "onnx/graph_builder.h"
#include "onnx/proto.h"

namespace verdict {
namespace {

Result<onnx::ModelProto> Parse(std::span<const std::byte> bytes) {
  // Protobuf itself ends at 2 GiB; larger models have external data.
  if (bytes.size() > static_cast<size_t>(std::numeric_limits<int>::max())) {
    return ResourceExhausted(
        "has " + std::to_string(bytes.size()) +
        " bytes, an ONNX file ends at 2 GiB; save the model with external data");
  }
  onnx::ModelProto model;
  if (!model.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return InvalidArgument(
        "is not an ONNX model: the protobuf is truncated, damaged, or nested too deeply");
  }
  if (!model.has_graph() || !model.has_ir_version()) {
    return InvalidArgument("is not an ONNX model: it has no graph or no IR version");
  }
  if (model.ir_version() < 1 || model.ir_version() > onnx::IR_VERSION) {
    return Unimplemented("has IR version " + std::to_string(model.ir_version()) +
                         "; supported are 1 to " + std::to_string(onnx::IR_VERSION) +
                         ": export with an older version of ONNX");
  }
  return model;
}

std::map<std::string, std::string> Metadata(const onnx::ModelProto& model) {
  std::map<std::string, std::string> metadata;
  const auto set = [&](const char* key, const std::string& value) {
    if (!value.empty()) metadata[key] = value;
  };
  set("producer_name", model.producer_name());
  set("producer_version", model.producer_version());
  set("model_domain", model.domain());
  set("ir_version", std::to_string(model.ir_version()));
  if (model.has_model_version()) set("model_version", std::to_string(model.model_version()));
  for (const auto& opset : model.opset_import()) {
    const std::string domain = opset.domain().empty() ? "ai.onnx" : opset.domain();
    metadata["opset." + domain] = std::to_string(opset.version());
  }
  for (const auto& property : model.metadata_props()) {
    metadata["property." + property.key()] = property.value();
  }
  return metadata;
}

Result<ImportedModel> Import(std::span<const std::byte> bytes,
                             const std::filesystem::path& folder) {
  VERDICT_ASSIGN_OR_RETURN(onnx::ModelProto model, Parse(bytes));
  ImportedModel imported;
  imported.metadata = Metadata(model);
  ExternalData external(folder);
  VERDICT_ASSIGN_OR_RETURN(imported.graph, GraphBuilder(model, external).Build());
  return imported;
}

}  // namespace

Result<ImportedModel> ImportOnnx(const std::filesystem::path& path) {
  VERDICT_ASSIGN_OR_RETURN(const auto file, MappedFile::Open(path));
  const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : ".";
  return ImportOnnxBytes(file->bytes(), folder, path.string());
}

Result<ImportedModel> ImportOnnxBytes(std::span<const std::byte> bytes,
                                      const std::filesystem::path& folder,
                                      const std::string& name) {
  auto imported = Import(bytes, folder);
  if (!imported.ok()) return imported.status().WithContext(name);
  return imported;
}

}  // namespace verdict
