#include "runtime/rebuild_plan.h"

#include <utility>

#include "backends/device/build_options.h"
#include "engine/device_parts.h"

namespace verdict {

Result<DevicePlan> RebuildDevicePlan(const EngineContents& contents, const DevicePlan& old,
                                     Device& device) {
  VERDICT_ASSIGN_OR_RETURN(const DeviceBuildOptions options, ParseBuildOptions(old.options));
  VERDICT_ASSIGN_OR_RETURN(const std::vector<PlanPart> sources,
                           ExtractPlan(contents.graph, contents.profiles, old));
  DevicePlan plan = old;
  plan.fingerprint = device.info().fingerprint;
  plan.device = device.info().name + ", " + device.info().versions;
  for (size_t i = 0; i < sources.size(); ++i) {
    if (!plan.parts[i].part.on_device) continue;
    auto blob = device.Build(sources[i].part.graph, sources[i].profiles, options);
    if (!blob.ok()) return blob.status().WithContext("part " + std::to_string(i));
    SetProgram(std::move(blob->bytes), sources[i], plan.parts[i]);
  }
  return plan;
}

}  // namespace verdict
