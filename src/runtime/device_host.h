#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "backends/device/device_plugin.h"
#include "runtime/device_engine.h"
#include "runtime/device_worker/remote_device.h"
#include "runtime/engine.h"

namespace verdict {

/// Where a host's device lives.
enum class DeviceIsolation {
  kProcess,  // in a worker, which a device that is lost does not outlive: it comes back in another
  kNone,     // in this process: a little faster, but TensorRT does not come back after a loss
};

struct DeviceHostOptions {
  std::string backend;        // "tensorrt"
  std::string plugin_folder;  // as PluginFolders
  DeviceIsolation isolation = DeviceIsolation::kProcess;
  WorkerOptions worker;  // of kProcess
  DeviceOptions device;  // its `log` is also told of losses and rebuilds; no lock is held then
  /// Of all engines together and what they share; 0: nine tenths of the device's.
  uint64_t memory_limit_bytes = 0;
  bool rebuild = true;  // builds plans that do not fit again, in the background
  /// false: no plan of a file is ever loaded; one is built here instead (with `rebuild`).
  bool stored_plans = true;
  /// An engine that has not run for so long may have to make room for another.
  uint32_t idle_ms = 60'000;
  /// Between tries to get a lost device back; doubles up to 32 times as much.
  uint32_t recovery_interval_ms = 1000;
};

/// Where an engine stands with the device.
struct DeviceAttachment {
  enum class State { kNone, kAttached, kBuilding, kRefused, kEvicted, kLost };
  State state = State::kNone;
  std::string reason;  // why it is not attached; for people
  uint64_t device_bytes = 0;
};

class DeviceHostCore;

/// The device of a process and the engines on it: admission by memory, eviction of idle ones,
/// recovery of a lost device. Engines go on with their CPU plan whenever they are not attached.
/// Threads: any.
class DeviceHost {
 public:
  enum class State { kHealthy, kLost, kRecovering };
  struct Totals {
    State state = State::kHealthy;
    uint64_t faults = 0;      // times the device was lost
    uint64_t recoveries = 0;  // times it came back
    uint64_t evictions = 0;
    uint64_t rebuilds = 0;
    uint64_t attached = 0;      // engines on the device now
    uint64_t used_bytes = 0;    // by them
    uint64_t shared_bytes = 0;  // beside, by what they share
    uint64_t limit_bytes = 0;
    std::string last_fault;  // message of the last one
  };

  /// Errors: as OpenDevice or OpenDeviceInWorker; kResourceExhausted: no thread to be had.
  static Result<std::shared_ptr<DeviceHost>> Open(const DeviceHostOptions& options);
  /// With a device that is open already, whatever options.backend says.
  static Result<std::shared_ptr<DeviceHost>> Create(std::shared_ptr<Device> device,
                                                    const DeviceHostOptions& options);
  /// Takes all engines off the device, after the runs that are under way. A build is not waited
  /// for where the device can end it (Device::AbandonBuild); runs end early with it.
  ~DeviceHost();

  const DeviceInfo& info() const;

  /// Puts an engine on the device, where it has a plan for it: checks its golden vectors there, and
  /// from then on its sessions run there. Where the plan's fingerprint is another, or its programs
  /// are of other weights, a new one is built in the background (options.rebuild). The engine stays
  /// usable whatever happens. Not for a request's thread. Returns: what came of it; the host keeps
  /// the engine weakly, and puts it there again after a recovery. What finds no room, or is taken
  /// off to make room, comes (back) once it is used and there is.
  DeviceAttachment Attach(const std::shared_ptr<const Engine>& engine, const std::string& name,
                          const DeviceEngineOptions& options);
  /// Takes an engine off the device, after the runs that are under way, and forgets it. An engine
  /// that is destroyed needs no such call. Not for a request's thread.
  void Detach(const Engine& engine);
  DeviceAttachment attachment(const Engine& engine) const;

  Totals totals() const;
  Status InjectFault(const std::string& kind);

  /// Waits until nothing is being built, attached or recovered. For tools and tests.
  void WaitUntilIdle();

 private:
  explicit DeviceHost(std::shared_ptr<DeviceHostCore> core);
  std::shared_ptr<DeviceHostCore> core_;
};

}  // namespace verdict
