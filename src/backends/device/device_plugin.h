#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "backends/device/device.h"

namespace verdict {

/// Grows with every change of what crosses the border: device.h, Graph, Status and what they hold.
inline constexpr uint32_t kDeviceAbiVersion = 3;
/// Compiler and version of this build: types of the C++ library cross the border.
std::string DeviceBuildId();

/// What a plugin's one symbol, `verdict_device_plugin`, gives. Its first three members stay as they
/// are for ever.
struct DevicePlugin {
  uint32_t abi_version;  // kDeviceAbiVersion of the plugin's build
  const char* build_id;  // DeviceBuildId of it
  const char* name;      // "tensorrt"
  /// Errors: kUnavailable with what is missing and how to get it; kNotFound: no device of that
  /// index.
  Result<std::unique_ptr<Device>> (*open)(const DeviceOptions& options);
};
using DevicePluginFunction = const DevicePlugin* (*)();
inline constexpr char kDevicePluginSymbol[] = "verdict_device_plugin";

/// Where plugins are looked for: `folder` where it is not empty; else VERDICT_PLUGIN_PATH, the
/// program's own folder, and lib/verdict beside it.
std::vector<std::filesystem::path> PluginFolders(const std::string& folder);

/// Loads libverdict_<backend>.so, checks its ABI version and build, and opens the device. The
/// library stays loaded. Errors: kInvalidArgument: not a name; kUnavailable: no such plugin (with
/// the folders that were searched and how to build it), one of another version, or as its `open`.
Result<std::unique_ptr<Device>> OpenDevice(const std::string& backend, const std::string& folder,
                                           const DeviceOptions& options);

}  // namespace verdict
