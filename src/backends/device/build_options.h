#pragma once

#include <map>
#include <string>

#include "backends/device/device.h"

namespace verdict {

/// Build options as an engine file keeps them (DevicePlan::options), enough to build again: "tf32",
/// "fp16", "bf16", "int8", "refittable" and "detailed_layers" are "1" or "0", "optimization_level"
/// a number, "memory_pool:workspace" bytes, "tactic_sources" names with commas between,
/// "calibration_cache" its text. What has its default is left out; samples, the timing cache and
/// the log are not kept.
std::map<std::string, std::string> BuildOptionsText(const DeviceBuildOptions& options);

/// The inverse. Errors: kInvalidArgument naming the option: unknown, or not such a value.
Result<DeviceBuildOptions> ParseBuildOptions(const std::map<std::string, std::string>& text);

}  // namespace verdict
