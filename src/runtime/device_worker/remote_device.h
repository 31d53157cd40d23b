#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "backends/device/device.h"

namespace verdict {

struct WorkerOptions {
  /// The worker's program; empty: verdict-device-worker is looked for where plugins are.
  std::filesystem::path program;
  uint32_t start_timeout_ms = 60'000;
  /// For how long after a run a thread of the worker watches for the next one before it sleeps;
  /// waking it costs a run 10 to 50 us. kSpinForever: always, for which the operator gives a core.
  uint32_t spin_us = 10'000;
  /// How many threads of the worker watch at a time, for all runners together: the cores that it
  /// may take while nothing runs. A run that is announced while they start others wakes one up.
  uint32_t spinners = 1;
  /// How much longer than the device's own time-out a run may take before the worker itself is
  /// given up as hanging.
  uint32_t hang_margin_ms = 500;
  /// After how long without a sign of life the worker is given up as hanging, whether anything runs
  /// or not. At least 1,000: it gives one every 200.
  uint32_t silence_ms = 5000;
  /// For every call but a build.
  uint32_t call_timeout_ms = 120'000;

  static constexpr uint32_t kSpinForever = UINT32_MAX;
};

/// As OpenDevice (device_plugin.h), but in a process of its own, verdict-device-worker: after an
/// error that leaves a device's context unusable its libraries cannot be started again in the same
/// process, and what crashes in a driver does not take the caller along.
///
/// Runs go through shared memory, at a cost of a few microseconds; what a run returns has been
/// copied out of it. When the worker ends, for whatever reason, or does not answer in time, the
/// device is lost: every run and call that waits returns within milliseconds. Recover starts
/// another worker; what was loaded before can only be let go of, before or after that.
///
/// Log callbacks are called by another thread and must not call the device.
/// Errors: as OpenDevice; kUnavailable also if the worker's program is not there or does not start.
Result<std::unique_ptr<Device>> OpenDeviceInWorker(const std::string& backend,
                                                   const std::string& plugin_folder,
                                                   const DeviceOptions& options,
                                                   const WorkerOptions& worker);

}  // namespace verdict
