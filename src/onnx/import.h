#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>

#include "ir/graph.h"

namespace verdict {

struct ImportedModel {
  Graph graph;  // verified, shapes inferred
  /// producer_name, producer_version, model_domain, model_version, ir_version, opset.DOMAIN, and
  /// property.KEY of the model's own properties.
  std::map<std::string, std::string> metadata;
};

/// Reads an ONNX model file (opset 7 to 23, ai.onnx.ml 1 to 5), with external data from inside its
/// own folder only. Older operator versions are translated to the newest; local functions, and
/// branches whose condition is constant, are expanded. Inputs and outputs keep their names and
/// order, symbolic extents their names. ZipMap is left out: the output of its name is the matrix of
/// scores, a column a class. Errors: kNotFound; kInvalidArgument naming the file, node or tensor
/// that is malformed; kUnimplemented naming the operator or feature that is not supported, and what
/// to do; kResourceExhausted over the size limits. Threads: pure.
Result<ImportedModel> ImportOnnx(const std::filesystem::path& path);

/// As ImportOnnx, on bytes in memory. folder: where external data may lie; empty: none allowed.
Result<ImportedModel> ImportOnnxBytes(std::span<const std::byte> bytes,
                                      const std::filesystem::path& folder, const std::string& name);

}  // namespace verdict
