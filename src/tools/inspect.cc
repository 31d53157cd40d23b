#include <algorithm>
#include <cstdio>
#include <memory>

#include "engine/dump.h"
#include "runtime/device_engine.h"
#include "tools/device_flags.h"
#include "tools/help_all.h"
#include "tools/model_file.h"
#include "tools/subcommand.h"

namespace verdict {
namespace {

struct Flags {
  std::string file;
  bool json = false;
  DeviceChoice device;
  bool dump_layers = false;
  std::string export_layers;
};

Result<EngineContents> ReadContents(const std::string& file) {
  VERDICT_ASSIGN_OR_RETURN(const bool is_engine, IsEngineFile(file));
  if (is_engine) return ReadEngineFile(file);
  VERDICT_ASSIGN_OR_RETURN(ImportedModel model, ImportOnnx(file));
  EngineContents contents;
  contents.graph = std::move(model.graph);
  contents.metadata = std::move(model.metadata);
  return contents;
}

/// What the device itself says of the engine's programs for it.
Status InspectDevice(const Flags& flags, const EngineContents& contents) {
  if (flags.device.backend.empty()) {
    return InvalidArgument("the layers are those of a device: --backend tensorrt");
  }
  const auto plan =
      std::ranges::find(contents.device_plans, flags.device.backend, &DevicePlan::backend);
  if (plan == contents.device_plans.end()) {
    return FailedPrecondition(flags.file + " has no plan for '" + flags.device.backend +
                              "'; build it with --backend " + flags.device.backend);
  }
  VERDICT_ASSIGN_OR_RETURN(const std::shared_ptr<Device> device, OpenChosenDevice(flags.device));
  VERDICT_ASSIGN_OR_RETURN(const auto engine, Engine::FromContents(contents));
  DeviceEngineOptions one;
  one.streams = 1;
  one.graphs = false;
  const auto loaded = DeviceEngine::Load(device, *engine, *plan, one);
  if (!loaded.ok()) return loaded.status().WithContext(flags.file);
  VERDICT_ASSIGN_OR_RETURN(const std::string layers, (*loaded)->LayerInformation());
  return ShowLayers(layers, flags.dump_layers, flags.export_layers);
}

Status Inspect(const Flags& flags) {
  VERDICT_ASSIGN_OR_RETURN(const EngineContents contents, ReadContents(flags.file));
  if (flags.dump_layers || !flags.export_layers.empty()) return InspectDevice(flags, contents);
  const std::string text = flags.json ? DumpJson(contents) + "\n" : DumpText(contents);
  std::fwrite(text.data(), 1, text.size(), stdout);
  return OkStatus();
}

std::function<Status()> Declare(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  CLI::Option* file =
      app.add_option("file", flags->file, "an ONNX model or an engine")->type_name("FILE");
  app.add_option("--loadEngine", flags->file, "the same, as trtexec has it")
      ->type_name("FILE")
      ->excludes(file);
  app.parse_complete_callback([flags] {
    if (flags->file.empty()) throw CLI::RequiredError("file");
  });
  app.add_flag("--json", flags->json, "one line of JSON, for programs");
  app.add_flag("--dumpLayerInfo", flags->dump_layers, "what the device says of its layers, JSON");
  app.add_option("--exportLayerInfo", flags->export_layers, "the same into a file")
      ->type_name("FILE");
  app.add_option("--backend", flags->device.backend, "whose layers: tensorrt")->type_name("NAME");
  AddDeviceFlags(app, flags->device);
  AddHelpAll(app, "the other flags too: which device, …");
  return [flags] { return Inspect(*flags); };
}

}  // namespace

const Subcommand kInspectCommand = {.name = "inspect",
                                    .summary = "Shows a model's or engine's inputs, nodes, memory.",
                                    .example =
                                        "  verdict inspect m.engine\n"
                                        "  verdict inspect m.engine --json | python3 -m json.tool",
                                    .declare = Declare};

}  // namespace verdict
