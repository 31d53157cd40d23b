#pragma once

#include <optional>
#include <string_view>

#include "observe/device_families.h"
#include "serve/device/serving_device.h"
#include "serve/models/model_store.h"

namespace verdict {

/// "healthy", "lost", "recovering", or "unavailable" where the device could not be opened.
std::string_view DeviceStateName(const ServingDevice& device);

/// Whether a model is told of with the device: its engine has a plan, or its configuration asks.
bool BelongsToDevice(const LoadedModel& model);

/// For the scrape; none where no device was asked for.
std::optional<DeviceSample> SampleDevice(const ServingDevice& device, const ModelSet& models);

}  // namespace verdict
