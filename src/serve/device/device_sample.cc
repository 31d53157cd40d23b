#include "serve/device/device_sample.h"

#include <utility>

namespace verdict {

std::string_view DeviceStateName(const ServingDevice& device) {
  if (device.host() == nullptr) return "unavailable";
  switch (device.host()->totals().state) {
    case DeviceHost::State::kHealthy:
      break;
    case DeviceHost::State::kLost:
      return "lost";
    case DeviceHost::State::kRecovering:
      return "recovering";
  }
  return "healthy";
}

bool BelongsToDevice(const LoadedModel& model) {
  return model.config().instance_kind == InstanceKind::kGpu ||
         !model.engine().contents().device_plans.empty();
}

std::optional<DeviceSample> SampleDevice(const ServingDevice& device, const ModelSet& models) {
  if (!device.wanted()) return std::nullopt;
  DeviceSample sample;
  sample.backend = device.backend();
  sample.state = DeviceStateName(device);
  if (device.host() != nullptr) {
    const DeviceHost::Totals totals = device.host()->totals();
    sample.faults = totals.faults;
    sample.recoveries = totals.recoveries;
    sample.evictions = totals.evictions;
    sample.rebuilds = totals.rebuilds;
    sample.memory_limit_bytes = totals.limit_bytes;
    sample.memory_shared_bytes = totals.shared_bytes;
  }
  for (const auto& [name, versions] : models.models()) {
    for (const ModelVersion& version : versions) {
      if (version.loaded == nullptr || !BelongsToDevice(*version.loaded)) continue;
      const LoadedModel& loaded = *version.loaded;
      const DeviceAttachment standing = device.Standing(loaded.engine(), loaded.config());
      DeviceSample::Model model;
      model.model = name;
      model.version = loaded.version_text();
      model.state = AttachmentName(standing.state);
      model.memory_bytes = standing.device_bytes;
      const ModelTotals totals = loaded.metrics().Sum();
      model.requests = totals.device_uses;
      model.late_runs = totals.queue.late_runs;
      sample.models.push_back(std::move(model));
    }
  }
  return sample;
}

}  // namespace verdict
