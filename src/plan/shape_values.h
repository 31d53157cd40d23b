#pragma once

#include <vector>

#include "ir/graph.h"

namespace verdict {

/// Per value: whether it follows from shapes and constants alone by a few cheap integer nodes (the
/// Shape, Gather, Concat chains before a Reshape), so that whoever needs it may compute it again.
/// Shapes of strings are not among them. The graph holds inferred shapes. O(graph).
std::vector<bool> FindShapeValues(const Graph& graph);

/// Whether the node reads input `index` as a shape, axes or sizes, not as numbers to compute with.
bool IsShapeOperand(const Node& node, size_t index);

}  // namespace verdict
