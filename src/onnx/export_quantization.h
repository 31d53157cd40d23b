#pragma once

#include "ir/graph.h"

namespace verdict {

/// The graph as other runtimes take its quantized layers:
/// - float32 constants for the weights of recurrent layers, which are behind DequantizeLinear or
///   Cast: OpenVINO takes only constants for them, and TensorRT 8.5 computes something else;
///   neither they nor ONNX Runtime would compute in int8 there;
/// - the DequantizeLinear of an embedding before its Gather: TensorRT takes int8 constants nowhere
///   else.
/// Errors: as EvaluateNode. Threads: pure.
Result<Graph> ForOtherRuntimes(const Graph& graph);

}  // namespace verdict
