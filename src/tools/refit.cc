#include <algorithm>
#include <cstdio>
#include <memory>

#include "base/terminal_text.h"
#include "compile/device_compile.h"
#include "compile/pipeline.h"
#include "runtime/engine.h"
#include "tools/device_flags.h"
#include "tools/help_all.h"
#include "tools/model_file.h"
#include "tools/same_graph.h"
#include "tools/subcommand.h"
#include "tools/target_file.h"

namespace verdict {
namespace {

struct Flags {
  std::string old_engine, onnx, engine;
  std::vector<std::string> disabled_passes;
  DeviceChoice device;
};

NamedShapes ShapesOf(const Profile& profile, Shape InputRange::*corner) {
  NamedShapes shapes;
  for (const InputRange& range : profile.inputs) shapes.emplace_back(range.name, range.*corner);
  return shapes;
}

/// The model compiled as the old engine was: with the same shapes and, as far as its graph shows,
/// the same passes.
Result<CompileResult> CompileLike(const EngineContents& old, const Flags& flags) {
  if (old.profiles.size() != 1) {
    return FailedPrecondition(flags.old_engine + ": it has " + std::to_string(old.profiles.size()) +
                              " profiles, only engines with one are refitted");
  }
  VERDICT_ASSIGN_OR_RETURN(ImportedModel model, ImportOnnx(flags.onnx));
  CompileOptions options;
  options.min_shapes = ShapesOf(old.profiles[0], &InputRange::min);
  options.opt_shapes = ShapesOf(old.profiles[0], &InputRange::opt);
  options.max_shapes = ShapesOf(old.profiles[0], &InputRange::max);
  options.disabled_passes = flags.disabled_passes;
  if (!old.device_plans.empty()) {  // as BuildForDevice
    VERDICT_ASSIGN_OR_RETURN(
        const Profile profile,
        MakeProfile(model.graph, options.min_shapes, options.opt_shapes, options.max_shapes));
    VERDICT_RETURN_IF_ERROR(FixExtents(profile, model.graph));
  }
  // Builds below float32 leave the scaler where it is.
  std::string difference;
  for (const bool fold_scaler : {true, false}) {
    if (!fold_scaler) options.disabled_passes.emplace_back(kFoldScaler.name);
    Graph graph = model.graph;
    VERDICT_RETURN_IF_ERROR(RunPasses(graph, options.disabled_passes).status());
    const std::string found = DifferenceOfGraphs(old.graph, graph);
    if (found.empty()) return CompileImported(model, flags.onnx, options);
    if (difference.empty()) difference = found;
  }
  return FailedPrecondition(
      flags.onnx + " is not the model of " + flags.old_engine +
      " with other weights: " + difference +
      "; build it with `verdict build` (engines of --int8, --bf16 and --fp16 on the CPU, or with "
      "--explicit, are not refitted)");
}

Status Refit(const Flags& flags) {
  VERDICT_ASSIGN_OR_RETURN(const auto target, CheckTarget("--saveEngine", flags.engine,
                                                          {{"the model", flags.onnx},
                                                           {"the old engine", flags.old_engine}}));
  VERDICT_ASSIGN_OR_RETURN(const EngineContents old, ReadEngineFile(flags.old_engine));
  VERDICT_ASSIGN_OR_RETURN(CompileResult compiled, CompileLike(old, flags));
  EngineContents& contents = compiled.contents;
  contents.metadata["refitted_from_sha256"] = old.sha256;
  for (const DevicePlan& plan : old.device_plans) {
    DeviceChoice choice = flags.device;
    choice.backend = plan.backend;
    VERDICT_ASSIGN_OR_RETURN(const auto device, OpenChosenDevice(choice));
    const auto log = [&](const std::string& line) {
      std::printf("%s: %s\n", TerminalText(plan.backend).c_str(), TerminalText(line).c_str());
    };
    auto refitted = RefitDevicePlan(contents, old, plan, *device, log);
    if (!refitted.ok()) return refitted.status().WithContext(flags.old_engine);
    contents.device_plans.push_back(*std::move(refitted));
  }
  VERDICT_ASSIGN_OR_RETURN(const auto engine, Engine::FromContents(contents));
  const Status status = Engine::CheckGolden(engine);
  if (!status.ok()) return status.WithContext("the engine does not compute what it should");
  VERDICT_RETURN_IF_ERROR(WriteEngineFile(target, contents));
  std::printf("%s: refitted with the weights of %s\n", flags.engine.c_str(), flags.onnx.c_str());
  return OkStatus();
}

std::function<Status()> Declare(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  app.add_option("--loadEngine", flags->old_engine, "the engine whose weights are old")
      ->required()
      ->type_name("FILE");
  app.add_option("--onnx", flags->onnx, "the same model, trained anew")
      ->required()
      ->type_name("FILE");
  app.add_option("--saveEngine", flags->engine, "where the new engine goes")
      ->required()
      ->type_name("FILE");
  app.add_option("--disable-pass", flags->disabled_passes, "as in the engine's build")
      ->group(kRareOptions)
      ->type_name("NAME")
      ->take_all();
  AddDeviceFlags(app, flags->device);
  AddHelpAll(app, "the other flags too: which device, …");
  return [flags] { return Refit(*flags); };
}

}  // namespace

const Subcommand kRefitCommand = {
    .name = "refit",
    .summary = "Gives an engine the weights of a retrained model.",
    .example = "  verdict refit --loadEngine m.engine --onnx new.onnx --saveEngine new.engine",
    .declare = Declare};

}  // namespace verdict
