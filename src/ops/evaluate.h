#pragma once

#include <functional>
#include <span>
#include <vector>

#include "ir/graph.h"

namespace verdict {

/// Runs one node with its reference kernel on fresh memory. Returns a constant per output (an empty
/// one where the node leaves it out), which owns its contents, strings too. Errors: as the shape
/// rule and the kernel; kResourceExhausted where a tensor, its strings or the scratch would take
/// more than 4 GiB.
Result<std::vector<Constant>> EvaluateNode(const Node& node, std::span<const TensorView> inputs);

/// Sees a node's inputs before it is run, and may put others in their place.
using BeforeNode = std::function<void(const Node& node, std::span<TensorView> inputs)>;

/// Interprets the graph with reference kernels, allocating as it goes: the oracle of tests, of
/// constant folding and of golden vectors, not the way to serve. inputs: one per graph input, in
/// order. before: may be empty. Returns one constant per graph output; an output that is a graph
/// input passed through points into the caller's memory.
Result<std::vector<Constant>> Evaluate(const Graph& graph, std::span<const TensorView> inputs,
                                       const BeforeNode& before = {});

}  // namespace verdict
