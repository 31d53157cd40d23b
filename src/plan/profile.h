#pragma once

#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "plan/plan.h"

namespace verdict {

using NamedShapes = std::vector<std::pair<std::string, Shape>>;

/// Parses TensorRT's flag syntax "in0:1x3,in1:8x64x2"; a scalar input is written "in2:" and names
/// may hold ':'. Errors: kInvalidArgument that quotes the part that is wrong (no extent, negative,
/// over 2^31, rank over 8).
Result<NamedShapes> ParseShapes(std::string_view text);

/// Makes the profile of a graph from the three flags' values. An input with a symbolic extent that
/// no flag names gets 1, 8 and 128 for each symbol (min, opt, max); a flag given alone stands for
/// all three that are missing, as in trtexec. Errors: kInvalidArgument naming the input: unknown
/// input, wrong rank, an extent that differs from a fixed one, min <= opt <= max violated, one
/// symbol given two sizes in the same flag.
Result<Profile> MakeProfile(const Graph& graph, const NamedShapes& min, const NamedShapes& opt,
                            const NamedShapes& max);

/// Gives every symbol of the graph that has one size in the profile that size: what computes with
/// it can then be folded, and a device's compiler knows it. Errors: as InferShapes.
Status FixExtents(const Profile& profile, Graph& graph);

/// The least, expected or largest shapes, one per input: `corner` is &InputRange::min, opt or max.
std::vector<Shape> CornerShapes(const Profile& profile, Shape InputRange::*corner);

/// Shapes whose tensors a plan for the profile must have room for, one per input: min, opt and max,
/// then, where there are at most six symbols, every mix of their least and largest sizes, since an
/// extent may fall while another grows. A model need not accept a mix.
std::vector<std::vector<Shape>> MeasuredShapes(const Graph& graph, const Profile& profile);

/// True if `shapes` (one per input, in order) lie within the profile. Never allocates.
bool Covers(const Profile& profile, std::span<const Shape> shapes);

/// OK if `shapes` (one per input, in order) lie within the profile; else kInvalidArgument, which
/// names the input, its shape and the range.
Status CheckShapes(const Profile& profile, std::span<const Shape> shapes);

}  // namespace verdict
