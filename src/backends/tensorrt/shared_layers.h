#pragma once

#include "backends/tensorrt/network_context.h"

// Layers and look-ups that builders of several families share.

namespace verdict::tensorrt {

/// The node that makes the value, or null (inputs and constants). O(nodes).
const Node* Producer(const Graph& graph, ValueId id);

/// Whether the value is a constant, or what a DequantizeLinear or a Cast makes of constants.
bool IsFoldable(const Graph& graph, ValueId id);

/// The constant behind such a value. Errors: kUnimplemented: it is computed.
Result<Constant> FoldedConstant(const Graph& graph, ValueId id);

/// The same as the weights of a layer that wants float32. Those of a plain constant can be
/// refitted.
Result<nvinfer1::Weights> FoldedWeights(NetworkContext& context, ValueId id);

/// As a tensor: as FoldedWeights where that is possible, else the tensor that is computed.
Result<ITensor*> FoldedTensor(NetworkContext& context, ValueId id);

/// A · B, where an operand may be transposed; the one of lower rank gets leading extents of 1.
Result<ITensor*> MatrixProduct(NetworkContext& context, ITensor* a, bool transpose_a, ITensor* b,
                               bool transpose_b);

/// 0, 1, 2, … of that many as int32, unsqueezed: the result has extents of 1 at `axes`.
Result<ITensor*> Positions(NetworkContext& context, Dim length, uint32_t axes);

/// A block of a tensor whose extents may be symbols.
Result<ITensor*> SliceBlock(NetworkContext& context, ITensor* x, std::span<const int64_t> starts,
                            const Shape& sizes);

}  // namespace verdict::tensorrt
