#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "backends/device/device.h"
#include "runtime/engine.h"

namespace verdict {

class DeviceEngine;

struct DeviceEngineOptions {
  int streams = 2;     // runs at a time
  bool graphs = true;  // CUDA graphs and the like
  /// Called each time that a host has loaded and checked the engine, before sessions run there: to
  /// warm it up and measure it. An error keeps the engine off the device. May be empty.
  std::function<Status(DeviceEngine& loaded)> prepare;
};

/// An engine's device plan, loaded: the programs of its device parts, engines of its host parts,
/// and a few lanes (a stream with a context each) that threads borrow for a run. Immutable apart
/// from the lanes. Threads: any.
class DeviceEngine {
 public:
  /// Errors: as Device::Load and NewRunner; kFailedPrecondition: the plan's fingerprint is not the
  /// device's, or as CheckProgram; kDataLoss: the parts are not the graph's.
  static Result<std::shared_ptr<DeviceEngine>> Load(std::shared_ptr<Device> device,
                                                    const Engine& engine, const DevicePlan& plan,
                                                    const DeviceEngineOptions& options);
  ~DeviceEngine();

  /// Runs in a free lane, after waiting for one (threads get them in the order in which they came,
  /// and none while every lane's run goes on after RunUntil);
  /// copies what comes out to `outputs`, whose shapes are set and whose memory (of `capacities`
  /// bytes each) is the caller's. Allocates nothing. Errors: as DeviceRunner::Run;
  /// kInvalidArgument: also what a host part refuses, and outputs without room; kCancelled: closed,
  /// or no lane.
  Status Run(std::span<const TensorView> inputs, std::span<TensorView> outputs,
             std::span<const size_t> capacities);

  /// Where a run is that is under way.
  struct Place {
    std::optional<size_t> lane;  // none: there is no run
    size_t part = 0;             // of the plan
    bool started = false;        // that part's runner
    bool late = false;           // the run has been waited for once
  };
  using Clock = std::chrono::steady_clock;
  /// The same in steps. Begins a run, or goes on with that of *place, whose inputs hold the same,
  /// and waits until then at most. Returns: false if it goes on: call again, on any thread, or
  /// Abandon. Errors: as Run; kCancelled: also if no lane is free until then, or if every lane has
  /// a run that goes on so.
  Result<bool> RunUntil(Clock::time_point until, Place* place, std::span<const TensorView> inputs,
                        std::span<TensorView> outputs, std::span<const size_t> capacities);
  /// Whether a run that goes on can be gone on with. Does not wait.
  bool CanGoOn(const Place& place) const;
  /// Waits for the end of a run that goes on, for nobody.
  void Abandon(Place* place);

  /// Runs the engine's golden vectors; float outputs may be off by the plan's tolerance, or the
  /// vector's where that is larger. Errors: as Run and Engine::CheckGolden.
  Status CheckGolden(const Engine& engine);

  /// Runs once with a clock around each layer of the device parts; parts on the host are one layer
  /// each. Errors: as Run.
  Result<std::vector<LayerTime>> ProfileLayers(std::span<const TensorView> inputs);

  /// The layers of all programs, as DeviceProgram::LayerInformation has them: a JSON text, an array
  /// of one such text per part where there are several. Errors: its; kCancelled: closed.
  Result<std::string> LayerInformation() const;

  /// Lets go of lanes and programs, after the runs that are under way; later runs end with
  /// kCancelled. Whoever comes second waits until that is done.
  void Close();

  /// Per output of the engine, the most bytes that a run within the profiles makes.
  std::span<const size_t> output_bytes() const;
  /// When the last run ended; when it was loaded, before the first.
  std::chrono::steady_clock::time_point last_used() const;
  uint64_t device_bytes() const;
  const std::string& backend() const;

 private:
  struct Lane;
  struct Core;
  DeviceEngine();
  std::unique_ptr<Core> core_;
};

}  // namespace verdict
