#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backends/device/device.h"
#include "engine/engine_file.h"

namespace verdict {

/// Runs a device plan for builds: device parts on the device, one stream, without captured graphs;
/// host parts with the reference kernels. What serves is runtime/device_engine.h.
class PlanRunner {
 public:
  /// graph and device must outlive it. Errors: as ExtractParts, PartProfiles, Device::Load and
  /// NewRunner.
  static Result<std::unique_ptr<PlanRunner>> Load(const Graph& graph,
                                                  std::span<const Profile> profiles,
                                                  const DevicePlan& plan, Device& device);

  /// inputs: one per graph input, in order; they must outlive what is returned. Errors: as
  /// DeviceRunner::Run, and the reference kernels'.
  Result<std::vector<Constant>> Run(std::span<const TensorView> inputs);

 private:
  explicit PlanRunner(const Graph& graph) : graph_(graph) {}

  const Graph& graph_;
  std::vector<PartGraph> parts_;
  std::vector<std::shared_ptr<DeviceProgram>> programs_;  // by part; null on the host
  std::vector<std::unique_ptr<DeviceRunner>> runners_;    // by part
};

}  // namespace verdict
