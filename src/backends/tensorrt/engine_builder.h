#pragma once

#include "backends/tensorrt/device_core.h"

namespace verdict::tensorrt {

/// Device::Build: TensorRT's network of the graph, built for the profiles, behind our header.
Result<DeviceBlob> BuildEngine(DeviceCore& core, const Graph& graph,
                               std::span<const Profile> profiles,
                               const DeviceBuildOptions& options);

/// Device::Refit.
Result<std::vector<std::byte>> RefitEngine(DeviceCore& core, std::span<const std::byte> bytes,
                                           const Graph& graph);

}  // namespace verdict::tensorrt
