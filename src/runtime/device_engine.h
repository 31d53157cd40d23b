#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backends/device/device.h"
#include "runtime/engine.h"

namespace verdict {

struct DeviceEngineOptions {
  int streams = 2;      // runs at a time
  bool graphs = true;   // CUDA graphs and the like
};

/// An engine's device plan, loaded: the programs of its device parts, engines of its host parts, and
/// a few lanes (a stream with a context each) that threads borrow for a run. Immutable apart from
/// the lanes. Threads: any.
class DeviceEngine {
 public:
  /// Errors: as Device::Load and NewRunner; kFailedPrecondition: the plan's fingerprint is not the
  /// device's.
  static Result<std::shared_ptr<DeviceEngine>> Load(std::shared_ptr<Device> device,
                                                    const Engine& engine, const DevicePlan& plan,
                                                    const DeviceEngineOptions& options);
  ~DeviceEngine();

  /// Runs in a free lane, after waiting for one; copies what comes out to `outputs`, whose shapes
  /// are set and whose memory (of `capacities` bytes each) is the caller's. Errors: as
  /// DeviceRunner::Run and Session::Run.
  Status Run(std::span<const TensorView> inputs, std::span<TensorView> outputs,
             std::span<const size_t> capacities);

  uint64_t device_bytes() const;
  const DevicePlan& plan() const;
  const std::string& backend() const;

 private:
  struct Lane;
  struct Core;
  DeviceEngine();
  std::unique_ptr<Core> core_;
};

}  // namespace verdict
