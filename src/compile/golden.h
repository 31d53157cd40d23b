#pragma once

#include "engine/engine_file.h"

namespace verdict {

/// Makes golden vectors for the profile's min and opt shapes: seeded inputs of each type, outputs
/// by the reference kernels. The inputs are plausible, not realistic: floats from a unit normal,
/// integers 0 or 1 (valid indices of any embedding of two rows), strings empty; where the model
/// refuses those, zeros (strings "0"); where it refuses those too, or a shape is too large to
/// travel in the file, there is no vector. Errors: kInvalidArgument where a shape of the profile
/// overflows.
Result<std::vector<GoldenVector>> MakeGoldenVectors(const Graph& graph, const Profile& profile,
                                                    uint64_t seed);

}  // namespace verdict
