#pragma once

#include <vector>

#include "ir/graph.h"

namespace verdict {

/// A layer whose weights, and mostly activations, can be of a narrower type: a product with
/// constant weights (FusedGemm), a recurrent layer (LSTM, GRU) or an embedding (Gather from a
/// table).
struct QuantizableLayer {
  int32_t node = 0;  // index in graph.nodes
  /// The activations whose range is needed; kNoValue where they get scales in each run (recurrent
  /// layers), or there are none (embeddings).
  ValueId input = kNoValue;
  /// A f32 constant: [K, N]; of recurrent layers W; of embeddings the table [rows, columns].
  ValueId weights = kNoValue;
};

/// The layers of a graph that the passes have gone over, in their order. Tables of less than 64 KiB
/// are left alone.
std::vector<QuantizableLayer> FindQuantizableLayers(const Graph& graph);

}  // namespace verdict
