#pragma once

#include <functional>
#include <span>
#include <vector>

#include "engine/device_parts.h"

namespace verdict {

/// A copy of numbers that others own.
Constant CopyOf(const TensorView& view);

/// Computes part `index` on inputs in the order of its graph.
using RunPart =
    std::function<Result<std::vector<Constant>>(size_t index, std::span<const TensorView> inputs)>;

/// Runs the parts of a graph one after another, for builds, not to serve. inputs: one per graph
/// input, in order; they must outlive what is returned. Returns: one constant per graph output.
/// Errors: of `run`.
Result<std::vector<Constant>> RunParts(const Graph& graph, std::span<const PlanPart> parts,
                                       std::span<const TensorView> inputs, const RunPart& run);

}  // namespace verdict
