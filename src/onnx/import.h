#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>

#include "ir/graph.h"

namespace verdict {

struct ImportedModel {
  Graph graph;                                  // verified, shapes inferred
  std::map<std::string, std::string> metadata;  // producer, opset, ir_version, model properties
};

/// Reads an ONNX model file (opset 7 to 23, ai.onnx.ml 1 to 5), with external data from inside its
/// own folder only. Older operator versions are translated to the newest. Symbolic extents survive
/// under their names. Errors: kNotFound; kInvalidArgument naming the file, node or tensor that is
/// malformed; kUnimplemented naming the operator or feature that is not supported;
/// kResourceExhausted over the size limits.
Result<ImportedModel> ImportOnnx(const std::filesystem::path& path);

/// As ImportOnnx, on bytes in memory. folder: where external data may lie; empty: none allowed.
Result<ImportedModel> ImportOnnxBytes(std::span<const std::byte> bytes,
                                      const std::filesystem::path& folder, const std::string& name);

}  // namespace verdict
