#pragma once

#include <CLI/App.hpp>
#include <memory>
#include <string>

#include "runtime/device_host.h"
#include "tools/device_flags.h"

namespace verdict {

/// Where a subcommand is to run an engine.
struct DeviceUseFlags {
  DeviceChoice choice;  // backend "cpu": no device; empty: the one that the engine has a plan for
  bool graphs = false, no_graphs = false;  // neither: with graphs
};

/// --backend, and among the rare options --pluginDir, --device, --useCudaGraph and --noCudaGraph.
void AddDeviceUseFlags(CLI::App& app, DeviceUseFlags& flags);

/// Where an engine runs now.
struct DeviceUse {
  std::shared_ptr<DeviceHost> host;  // keeps the engine there; null: on the CPU
  std::string text;  // "fake, Fake device (fake 1.0)"; "cpu", with the reason where there is a plan
};

/// Attaches an engine to the device of the flags, with so many lanes. A device that was not asked
/// for by name and cannot be had is no error. Errors: as OpenChosenDevice; kFailedPrecondition: the
/// engine does not run on the device that was asked for.
Result<DeviceUse> UseDevice(const std::shared_ptr<const Engine>& engine,
                            const DeviceUseFlags& flags, int streams);

/// The device engine that an engine is attached to; null: none.
std::shared_ptr<DeviceEngine> DeviceEngineOf(const Engine& engine);

}  // namespace verdict
