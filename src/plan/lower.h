#pragma once

#include <cstdint>
#include <optional>

#include "ir/graph.h"

namespace verdict {

/// To be raised whenever Lower makes another graph of one that it lowered before: a plan is of the
/// lowered graph's nodes.
inline constexpr uint32_t kLoweringVersion = 2;

/// The graph that is planned and run in place of `graph`, or nothing where that is the same one:
/// operators between QuantizeLinear and DequantizeLinear become operators that compute with int8,
/// those whose factors are Casts from bfloat16 or float16 become operators that compute with these.
/// What they compute stays the same but for rounding. Quantized and half constants that no such
/// operator takes are made float32. The graph has passed VerifyGraph, and its shapes are inferred;
/// value ids stay, further constants follow them. The same graph is lowered to the same graph
/// always: engine files hold the one, and the plan of the other. Errors: none for a graph as said.
/// Threads: pure.
Result<std::optional<Graph>> Lower(const Graph& graph);

}  // namespace verdict
