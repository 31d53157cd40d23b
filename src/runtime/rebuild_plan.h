#pragma once

#include "backends/device/device.h"
#include "engine/engine_file.h"

namespace verdict {

/// Builds the programs of a device plan again for this device, with the options of the plan and its
/// parts as they are. Errors: as Device::Build and ExtractParts; kInvalidArgument: an option that
/// is none.
Result<DevicePlan> RebuildDevicePlan(const EngineContents& contents, const DevicePlan& old,
                                     Device& device);

}  // namespace verdict
