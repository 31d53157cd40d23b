#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "ir/graph.h"
#include "quant/quantizable_layers.h"

namespace verdict {

/// What samples showed of a tensor.
struct TensorRange {
  /// Values beyond it, in size, are clipped; finite, > 0.
  float threshold = 0;
  /// The largest that was seen, in size; 0: unknown.
  float largest = 0;
  /// Of each column of the last axis; empty if unknown.
  std::vector<double> means;
};
/// By the tensor's name.
using TensorRanges = std::map<std::string, TensorRange, std::less<>>;

/// Why the layer cannot be in int8: weights that are not finite, or activations so small that no
/// scale can be made of their range; empty if it can. Of a tensor without a range nothing is said.
std::string WhyNotInt8(const Graph& graph, const QuantizableLayer& layer,
                       const TensorRanges& ranges);

/// Writes weights as int8 with a scale for each output column (largest |w| / 127) behind a
/// DequantizeLinear, and puts a QuantizeLinear and a DequantizeLinear before a product's
/// activations (scale threshold / 127, zero point 0), once where several layers read them. Where
/// means are known, what rounding the weights does to the mean output goes into the bias. Recurrent
/// layers are marked with kComputeType. Of embeddings the table becomes int8, with a scale for each
/// column, and the DequantizeLinear follows the Gather. Types and shapes of the new values are set.
/// Errors: kInvalidArgument if weights are not finite, or a tensor has no range.
/// Source of the correction: Nagel et al., "Data-Free Quantization through Weight Equalization and
/// Bias Correction", 2019, with the samples' means.
Status InsertQuantization(Graph& graph, std::span<const QuantizableLayer> layers,
                          const TensorRanges& ranges);

}  // namespace verdict
