#pragma once

#include <vector>

#include "ir/graph.h"

namespace verdict {

/// A layer whose weights, and mostly activations, can be of a narrower type: a product with
/// constant weights (FusedGemm), a recurrent layer (LSTM, GRU) or an embedding (Gather from a
/// table).
struct QuantizableLayer {
  int32_t node = 0;  // index in graph.nodes
  /// The activations; kNoValue for embeddings, which have none.
  ValueId input = kNoValue;
  /// A f32 constant: [K, N]; of recurrent layers W [D, N, K]; of embeddings the table [rows, N].
  ValueId weights = kNoValue;
  /// Whether int8 needs the range of `input`: recurrent layers find theirs in each run.
  bool needs_range = false;
};

/// The layer's constants that become narrower: `weights`, and of recurrent layers R.
std::vector<ValueId> WeightsOf(const Graph& graph, const QuantizableLayer& layer);

/// The layers of a graph that the passes have gone over, in their order. Tables of less than 64 KiB
/// are left alone.
std::vector<QuantizableLayer> FindQuantizableLayers(const Graph& graph);

}  // namespace verdict
