#pragma once

#include <span>
#include <string>

#include "quant/quantizable_layers.h"

namespace verdict {

/// The largest number of a half type: 65,504 of kFloat16, 3.39e38 of kBFloat16.
float LargestHalf(DataType type);

/// Why the layer cannot be in a half type: a weight, or an activation of that size, that overflows
/// it, or is not finite; weights so small that they lose a hundredth; in float16 a recurrent layer
/// whose state has no bound. Empty if it can. Sums are float32, so that products may overflow.
/// largest_activation: 0 if unknown.
std::string WhyHalfOverflows(const Graph& graph, const QuantizableLayer& layer, DataType type,
                             float largest_activation);

/// Writes the layers' weights in a half type (kBFloat16 or kFloat16) behind a Cast to float32, and
/// puts two Casts, to that type and back, before a product's activations, once where several layers
/// read them. Recurrent layers are marked with kComputeType; the Cast of an embedding's table
/// follows the Gather. Types and shapes of the new values are set.
/// Errors: kInvalidArgument if a weight is not finite or overflows the type, or it is no half type;
/// the graph is then to be thrown away.
Status InsertHalf(Graph& graph, std::span<const QuantizableLayer> layers, DataType type);

}  // namespace verdict
