#pragma once

#include <map>
#include <string>

#include "ir/graph.h"

namespace verdict {

struct ExportOptions {
  /// Beside the producer's name, "verdict".
  std::string producer_version;
  /// The model's own metadata (metadata_props).
  std::map<std::string, std::string> properties;
};

/// Writes a verified graph as an ONNX model: IR version 8, operator sets ai.onnx 17 and, where it
/// is needed, ai.onnx.ml 3. Operators that ONNX knows go out as themselves, ours as what they stand
/// for (src/ops/README.md); constants become initializers. Values, inputs and outputs keep their
/// names, symbolic extents too (dim_param).
/// Returns: the file's bytes, the same ones for the same graph.
/// Errors: kUnimplemented, naming the node, where operator set 17 cannot say what it does;
/// kResourceExhausted if the model would be larger than ONNX's 2 GiB. Threads: pure.
Result<std::string> ExportOnnx(const Graph& graph, const ExportOptions& options = {});

}  // namespace verdict
