#include "engine/device_parts.h"

#include <array>

#include "plan/graph_digest.h"

namespace verdict {
namespace {

Sha256Digest DigestOf(std::span<const std::byte> program, const PlanPart& source) {
  const Sha256Digest structure = StructureDigest(source.part.graph, source.profiles);
  const Sha256Digest weights = WeightsDigest(source.part.graph);
  return Sha256(std::array<std::span<const std::byte>, 3>{structure, weights, program});
}

}  // namespace

Result<std::vector<PlanPart>> ExtractPlan(const Graph& graph, std::span<const Profile> profiles,
                                          const DevicePlan& plan) {
  std::vector<Part> places;
  for (const DevicePart& part : plan.parts) places.push_back(part.part);
  VERDICT_ASSIGN_OR_RETURN(std::vector<PartGraph> graphs, ExtractParts(graph, places));
  std::vector<PlanPart> parts;
  for (PartGraph& part : graphs) {
    VERDICT_ASSIGN_OR_RETURN(auto part_profiles, PartProfiles(graph, part, profiles));
    parts.push_back({std::move(part), std::move(part_profiles)});
  }
  return parts;
}

void SetProgram(std::vector<std::byte> program, const PlanPart& source, DevicePart& part) {
  auto owner = std::make_shared<const std::vector<std::byte>>(std::move(program));
  part.program = *owner;
  part.digest = DigestOf(part.program, source);
  part.owner = std::move(owner);
}

Status CheckProgram(const DevicePart& part, const PlanPart& source) {
  if (part.digest == Sha256Digest{}) {
    return FailedPrecondition(
        "its program has no digest that tells what it was built from, as an older Verdict wrote "
        "it; build the engine again");
  }
  if (part.digest == DigestOf(part.program, source)) return OkStatus();
  return FailedPrecondition(
      "its program was not built from this engine's graph and weights, or has been changed since; "
      "build the engine again");
}

Status CheckPrograms(const EngineContents& contents, const DevicePlan& plan) {
  VERDICT_ASSIGN_OR_RETURN(const auto sources,
                           ExtractPlan(contents.graph, contents.profiles, plan));
  for (size_t i = 0; i < sources.size(); ++i) {
    if (!plan.parts[i].part.on_device) continue;
    const Status status = CheckProgram(plan.parts[i], sources[i]);
    if (!status.ok()) return status.WithContext("part " + std::to_string(i));
  }
  return OkStatus();
}

}  // namespace verdict
