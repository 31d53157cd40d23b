#pragma once

#include <vector>

#include "engine/engine_file.h"

namespace verdict {

/// A part of a device plan as a graph of its own, with its profiles.
struct PlanPart {
  PartGraph part;
  std::vector<Profile> profiles;
};

/// The parts that a plan divides a graph into, in its order. Errors: as ExtractParts and
/// PartProfiles.
Result<std::vector<PlanPart>> ExtractPlan(const Graph& graph, std::span<const Profile> profiles,
                                          const DevicePlan& plan);

/// Gives a part the program that a device has just made of `source`, with its digest.
void SetProgram(std::vector<std::byte> program, const PlanPart& source, DevicePart& part);

/// OK if that is the program which SetProgram has given this part: bytes that were made of another
/// graph, or of other weights, are not to be loaded. Errors: kFailedPrecondition: it is another, or
/// has no digest; a program that is built here takes its place. Cost: O(bytes of program and
/// weights).
Status CheckProgram(const DevicePart& part, const PlanPart& source);
/// CheckProgram of all programs of a plan. Errors: its, and ExtractPlan's.
Status CheckPrograms(const EngineContents& contents, const DevicePlan& plan);

}  // namespace verdict
