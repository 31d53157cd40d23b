#pragma once

#include <span>

#include "base/sha256.h"
#include "plan/plan.h"

namespace verdict {

// What a device's program is of: another graph's is told by the one digest, another training's of
// the same graph by the other. Names do not count, nor what nothing reads.

/// SHA-256 of inputs, outputs, nodes with their attributes and with the values that they read and
/// make, types and shapes of inputs and constants (the shape rules tell the rest), and profiles.
Sha256Digest StructureDigest(const Graph& graph, std::span<const Profile> profiles);

/// SHA-256 of what the constants hold. Cost: O(bytes).
Sha256Digest WeightsDigest(const Graph& graph);

}  // namespace verdict
