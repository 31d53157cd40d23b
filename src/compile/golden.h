#pragma once

#include <random>

#include "engine/engine_file.h"

namespace verdict {

/// Inputs of these shapes that are plausible, not realistic: floats from a unit normal, integers 0
/// or 1 (valid indices of any embedding of two rows), strings empty. zeros: what hardly any model
/// refuses, zeros and strings "0". Errors: kInvalidArgument where a shape overflows.
Result<std::vector<Constant>> MadeUpInputs(const Graph& graph, std::span<const Shape> shapes,
                                           bool zeros, std::mt19937_64& random);

/// Makes golden vectors of made-up inputs, outputs by the reference kernels: one for the profile's
/// min shapes, and one on the way from there to opt, as far as the inputs have 16,384 elements or
/// fewer. Where the model refuses plausible inputs, they are zeros; where it refuses those too, or
/// min is too large to travel in the file, there is no vector. Errors: kInvalidArgument where a
/// shape of the profile overflows.
Result<std::vector<GoldenVector>> MakeGoldenVectors(const Graph& graph, const Profile& profile,
                                                    uint64_t seed);

}  // namespace verdict
