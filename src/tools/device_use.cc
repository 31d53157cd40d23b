#include "tools/device_use.h"

#include <chrono>
#include <cstdio>
#include <set>
#include <thread>
#include <utility>

#include "base/terminal_text.h"
#include "tools/help_all.h"

namespace verdict {
namespace {

std::string DeviceText(const DeviceInfo& info) {
  return info.backend + ", " + info.name + " (" + info.versions + ")";
}

/// With the engine attached, or why it is not.
Result<std::shared_ptr<DeviceHost>> AttachTo(const std::shared_ptr<const Engine>& engine,
                                             const std::string& backend,
                                             const DeviceUseFlags& flags, int streams) {
  DeviceChoice choice = flags.choice;
  choice.backend = backend;
  VERDICT_ASSIGN_OR_RETURN(std::shared_ptr<Device> device, OpenChosenDevice(choice));
  DeviceHostOptions options;
  options.rebuild = !flags.choice.backend.empty();  // takes its time: only where it was asked for
  options.device.log = [](const std::string& line) {
    std::fprintf(stderr, "note: %s\n", TerminalText(line).c_str());
  };
  VERDICT_ASSIGN_OR_RETURN(std::shared_ptr<DeviceHost> host,
                           DeviceHost::Create(std::move(device), options));
  DeviceEngineOptions lanes;
  lanes.streams = streams;
  lanes.graphs = !flags.no_graphs;
  DeviceAttachment attachment = host->Attach(engine, "", lanes);
  while (attachment.state == DeviceAttachment::State::kBuilding) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    attachment = host->attachment(*engine);
  }
  if (attachment.state != DeviceAttachment::State::kAttached) {
    return FailedPrecondition("backend '" + backend + "': " + attachment.reason);
  }
  return host;
}

}  // namespace

void AddDeviceUseFlags(CLI::App& app, DeviceUseFlags& flags) {
  app.add_option("--backend", flags.choice.backend, "cpu, tensorrt, …; default: a device if it can")
      ->type_name("NAME");
  AddDeviceFlags(app, flags.choice);
  CLI::Option* graphs =
      app.add_flag("--useCudaGraph", flags.graphs, "captured graphs: the default");
  graphs->group(kRareOptions);
  app.add_flag("--noCudaGraph", flags.no_graphs, "no captured graphs, to compare")
      ->excludes(graphs)
      ->group(kRareOptions);
}

Result<DeviceUse> UseDevice(const std::shared_ptr<const Engine>& engine,
                            const DeviceUseFlags& flags, int streams) {
  DeviceUse use;
  use.text = "cpu";
  if (flags.choice.backend == "cpu") return use;
  if (!flags.choice.backend.empty()) {
    VERDICT_ASSIGN_OR_RETURN(use.host, AttachTo(engine, flags.choice.backend, flags, streams));
    use.text = DeviceText(use.host->info());
    return use;
  }
  std::set<std::string> backends;
  for (const DevicePlan& plan : engine->contents().device_plans) backends.insert(plan.backend);
  for (const std::string& backend : backends) {
    auto host = AttachTo(engine, backend, flags, streams);
    if (host.ok()) {
      use.host = *std::move(host);
      use.text = DeviceText(use.host->info());
      return use;
    }
    use.text += "; " + host.status().message();
  }
  return use;
}

std::shared_ptr<DeviceEngine> DeviceEngineOf(const Engine& engine) {
  uint64_t generation = 0;
  const auto link = engine.device_slot().Get(generation);
  return link == nullptr ? nullptr : link->engine;
}

}  // namespace verdict
