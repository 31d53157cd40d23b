#include "runtime/rebuild_plan.h"

#include <utility>

#include "backends/device/build_options.h"

namespace verdict {

Result<DevicePlan> RebuildDevicePlan(const EngineContents& contents, const DevicePlan& old,
                                     Device& device) {
  VERDICT_ASSIGN_OR_RETURN(const DeviceBuildOptions options, ParseBuildOptions(old.options));
  std::vector<Part> places;
  for (const DevicePart& part : old.parts) places.push_back(part.part);
  VERDICT_ASSIGN_OR_RETURN(const std::vector<PartGraph> parts,
                           ExtractParts(contents.graph, places));
  DevicePlan plan = old;
  plan.fingerprint = device.info().fingerprint;
  plan.device = device.info().name + ", " + device.info().versions;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (!places[i].on_device) continue;
    VERDICT_ASSIGN_OR_RETURN(const std::vector<Profile> profiles,
                             PartProfiles(contents.graph, parts[i], contents.profiles));
    auto blob = device.Build(parts[i].graph, profiles, options);
    if (!blob.ok()) return blob.status().WithContext("part " + std::to_string(i));
    auto bytes = std::make_shared<const std::vector<std::byte>>(std::move(blob->bytes));
    plan.parts[i].program = *bytes;
    plan.parts[i].owner = std::move(bytes);
  }
  return plan;
}

}  // namespace verdict
