#pragma once

#include "backends/tensorrt/network_context.h"

namespace verdict::tensorrt {

/// Whether the value is a DequantizeLinear of constants with which quantized activations are
/// multiplied, so that the product may be one of int8. (Elsewhere such constants are widened before
/// the network sees them.)
bool IsQuantizedWeights(const Graph& graph, ValueId id);

// TensorRT takes int8 constants before a DequantizeLinear alone, so that an embedding of int8 is
// dequantized first: its Gather takes rows of float32, and the DequantizeLinear behind it has
// nothing left to do.

/// The DequantizeLinear that makes floats of what this Gather takes from a table of int8 or uint8,
/// where that can be done with the table; else null.
const Node* DequantizedTable(const Graph& graph, const Node& gather);

/// The table in float32, for a Gather that has a DequantizedTable.
Result<ITensor*> DequantizedTableTensor(NetworkContext& context, const Node& gather);

}  // namespace verdict::tensorrt
