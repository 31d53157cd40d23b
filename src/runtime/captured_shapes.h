#pragma once

#include <span>
#include <vector>

#include "ir/graph.h"
#include "plan/plan.h"

namespace verdict {

/// Input shapes (one each per graph input) that are worth preparing for: min, opt and max of each
/// profile, and where one symbol is the leading extent of every input, also the powers of two
/// within the profile, the other extents as in opt. Each once, smallest first.
std::vector<std::vector<Shape>> ShapesToCapture(const Graph& graph,
                                                std::span<const Profile> profiles);

}  // namespace verdict
