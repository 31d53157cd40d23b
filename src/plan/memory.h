#pragma once

#include <functional>

#include "plan/plan.h"

namespace verdict {

/// Scratch bytes of a step of the plan for static shapes (one TensorView per input and output of
/// its node).
using ScratchRule = std::function<size_t(size_t step, std::span<const TensorView> inputs,
                                         std::span<const TensorView> outputs)>;

/// Fills plan.storage: which values are views of which. Needs plan.steps.
void PlanStorage(const Graph& graph, Plan& plan);

/// Lays out the arena for one profile: every value that a step makes gets 64-byte-aligned space
/// such that values whose lifetimes overlap do not overlap in memory (interval packing, largest
/// first). Graph outputs live to the end. Errors: as ResolveShapes at the profile's min, opt or max
/// shapes; kResourceExhausted over 16 GiB.
Result<Layout> PlanLayout(const Graph& graph, const Plan& plan, const Profile& profile,
                          const ScratchRule& scratch);

}  // namespace verdict
