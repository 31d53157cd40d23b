#pragma once

#include "ir/graph.h"

namespace verdict {

/// The graph with float32 constants for the weights that its recurrent layers read from behind a
/// DequantizeLinear. OpenVINO takes constants only for them, and TensorRT 8.5 computes something
/// else; neither they nor ONNX Runtime would compute in int8 there.
/// Errors: as EvaluateNode. Threads: pure.
Result<Graph> DequantizeRecurrentWeights(const Graph& graph);

}  // namespace verdict
