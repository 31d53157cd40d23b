#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backends/device/device.h"
#include "engine/device_parts.h"

namespace verdict {

/// Runs a device plan for builds: device parts on the device, one stream, without captured graphs;
/// host parts with the reference kernels. What serves is runtime/device_engine.h.
class PlanRunner {
 public:
  /// sources: the parts of `plan`. All but `plan` must outlive it. Errors: as Device::Load and
  /// NewRunner.
  static Result<std::unique_ptr<PlanRunner>> Load(const Graph& graph,
                                                  std::span<const PlanPart> sources,
                                                  const DevicePlan& plan, Device& device);

  /// inputs: one per graph input, in order; they must outlive what is returned. Errors: as
  /// DeviceRunner::Run, and the reference kernels'.
  Result<std::vector<Constant>> Run(std::span<const TensorView> inputs);

 private:
  PlanRunner(const Graph& graph, std::span<const PlanPart> sources)
      : graph_(graph), sources_(sources) {}

  const Graph& graph_;
  const std::span<const PlanPart> sources_;
  std::vector<std::shared_ptr<DeviceProgram>> programs_;  // by part; null on the host
  std::vector<std::unique_ptr<DeviceRunner>> runners_;    // by part
};

}  // namespace verdict
