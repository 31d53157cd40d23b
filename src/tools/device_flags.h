#pragma once

#include <CLI/App.hpp>
#include <memory>
#include <string>

#include "backends/device/device.h"

namespace verdict {

/// Which device, of which plugin.
struct DeviceChoice {
  std::string backend;  // "tensorrt"; empty: none
  std::string plugin_folder;
  int index = 0;
};

/// Errors: as OpenDevice.
Result<std::unique_ptr<Device>> OpenChosenDevice(const DeviceChoice& choice);

/// --pluginDir and --device, among the rare options.
void AddDeviceFlags(CLI::App& app, DeviceChoice& choice);

/// What a build for a device is told beside the precision: as trtexec's flags of the same names.
struct DeviceBuildFlags {
  bool no_tf32 = false, refit = false, explicit_precision = false;
  int optimization_level = -1;
  std::string memory_pools;    // "workspace:64M,tacticSharedMem:1K"
  std::string tactic_sources;  // "-CUDNN,+CUBLAS"
  std::string verbosity = "detailed";
  bool dump_layers = false;
  std::string export_layers;

  /// The first flag that was given, empty if none was.
  std::string given() const;
};

void AddDeviceBuildFlags(CLI::App& app, DeviceBuildFlags& flags);

/// Errors: kInvalidArgument that quotes what is wrong.
Result<DeviceBuildOptions> DeviceBuildOptionsOf(const DeviceBuildFlags& flags);

/// trtexec's sizes: "workspace:64,tacticSharedMem:1.5K" -> bytes by pool; MiB without one of the
/// suffixes B, K, M and G. Errors: kInvalidArgument.
Result<std::map<std::string, uint64_t>> ParseMemoryPools(const std::string& text);

/// Prints the layers' JSON where the flags want it, and writes it to their file. command: for
/// notes. Errors: as WriteFileAtomically.
Status ShowLayers(const std::string& json, bool dump, const std::string& file);

}  // namespace verdict
