#pragma once

#include <span>
#include <string>
#include <vector>

#include "runtime/device_engine.h"

namespace verdict {

/// What a layer took over some runs.
struct LayerProfile {
  std::string layer;
  double total_ms = 0;
  double average_ms = 0;
  double median_ms = 0;
  double percent = 0;  // of all layers' total
};

/// Profiles `runs` runs, layer by layer. Errors: as DeviceEngine::ProfileLayers; kInternal: the
/// layers are others from run to run.
Result<std::vector<LayerProfile>> ProfileRuns(DeviceEngine& engine,
                                              std::span<const TensorView> inputs, int runs);

/// As trtexec's --dumpProfile: a table, fit for a terminal.
std::string ProfileTable(std::span<const LayerProfile> layers, int runs);
/// As trtexec's --exportProfile: JSON.
std::string ProfileJson(std::span<const LayerProfile> layers, int runs);

}  // namespace verdict
