#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "backends/device/device.h"
#include "engine/engine_file.h"

namespace verdict {

struct DeviceCompileOptions {
  /// `samples` is filled in for each part; `calibration_cache` is of a graph with one device part.
  DeviceBuildOptions build;
  /// For int8 by the device's own calibration: each one input per graph input, in order, of the
  /// first profile's opt shapes.
  std::span<const std::vector<Constant>> samples;
  /// What the plan says of rows: see DevicePlan.
  bool rows_independent = false;
  std::function<void(const std::string&)> log;  // which nodes stay on the host, and why
};

/// Plans a graph for a device: divides it by what the device supports, builds a program for each of
/// its parts (the samples for inner parts are what the reference kernels make of the parts before),
/// and runs the golden vectors on them for the plan's tolerance, which is at least what the
/// precision costs on any model. The options hold the calibration cache that a build with samples
/// has made.
/// Errors: kFailedPrecondition: nothing in the graph is worth the device, or the golden vectors
/// come out wrong there (by more than kMaxDeviceTolerance, or not the same integers);
/// kUnimplemented: a calibration cache with several device parts; as ExtractParts, PartProfiles,
/// Device::Build and Device::Load.
Result<DevicePlan> MakeDevicePlan(const EngineContents& contents, Device& device,
                                  const DeviceCompileOptions& options);

/// A plan of `old` with the weights of `contents`, whose graph differs in the contents of constants
/// alone: refitted where a program was built so and takes it, else built again. log: which of both;
/// may be empty. Errors: kFailedPrecondition: the plan is of another device, a program is not of
/// `old`, calibrated int8 (whose ranges are of the old weights), or as MakeDevicePlan; as
/// Device::Build and Load.
Result<DevicePlan> RefitDevicePlan(const EngineContents& contents, const EngineContents& old,
                                   const DevicePlan& plan, Device& device,
                                   const std::function<void(const std::string&)>& log);

}  // namespace verdict
