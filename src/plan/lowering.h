#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "ir/graph.h"

namespace verdict {

/// A graph while plan/lower.h makes another one of it; what the rewrites of its nodes share.
struct Lowering {
  explicit Lowering(const Graph& from);

  Graph graph;
  std::vector<int32_t> producers;  // of the graph as it came
  /// What constants that are added may still take: a hostile graph dequantizes one constant in many
  /// nodes.
  uint64_t bytes_left;

  /// The node that makes `id`, if it is an `op`.
  const Node* Producer(ValueId id, std::string_view op) const;
};

/// The constant behind a node's input, or null.
const Constant* ConstantInput(const Graph& graph, const Node& node, size_t input);

struct QuantizedWeights {
  ValueId values;
  ValueId scales;  // [N]
};

/// `id` as DequantizeLinear of an int8 constant around zero, [K, N], or [D, N, K] of a recurrent
/// layer (the rank tells), with a scale for each of N, or one, which is repeated.
std::optional<QuantizedWeights> MatchQuantizedWeights(Lowering& lowering, ValueId id, int rank);

// Rewrites of a node; one that they do not fit stays.

/// A FusedGemm between QuantizeLinear and DequantizeLinear becomes a QuantizedGemm.
void LowerQuantizedGemm(Lowering& lowering, Node& node);

/// A FusedGemm of factors that are Casts from one half type, to which the first was rounded, a
/// HalfGemm.
void LowerHalfGemm(Lowering& lowering, Node& node);

/// An LSTM or GRU whose weights are of the type that its compute_type names, behind
/// DequantizeLinear or Cast, becomes a QuantizedLSTM or QuantizedGRU.
void LowerRecurrent(Lowering& lowering, Node& node);

}  // namespace verdict
