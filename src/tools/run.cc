#include <cstdio>
#include <memory>

#include "base/terminal_text.h"
#include "runtime/session.h"
#include "tools/bind_inputs.h"
#include "tools/device_use.h"
#include "tools/help_all.h"
#include "tools/model_file.h"
#include "tools/subcommand.h"
#include "tools/target_file.h"

namespace verdict {
namespace {

struct Flags {
  std::string model, inputs, outputs;
  DeviceUseFlags device;
};

/// The model for exactly these inputs: an ONNX file is compiled for their shapes.
Result<std::shared_ptr<const Engine>> LoadModel(const Flags& flags, const NamedTensors& inputs) {
  VERDICT_ASSIGN_OR_RETURN(const bool is_engine, IsEngineFile(flags.model));
  if (is_engine) return Engine::Load(flags.model);
  VERDICT_ASSIGN_OR_RETURN(ImportedModel model, ImportOnnx(flags.model));
  VERDICT_RETURN_IF_ERROR(BindInputs(model.graph, inputs, flags.inputs).status());
  CompileOptions options;
  for (const auto& [name, tensor] : inputs) options.opt_shapes.emplace_back(name, tensor.shape);
  options.min_shapes = options.max_shapes = options.opt_shapes;
  VERDICT_ASSIGN_OR_RETURN(CompileResult compiled,
                           CompileImported(std::move(model), flags.model, options));
  return Engine::FromContents(std::move(compiled.contents));
}

Status RunModel(const Flags& flags) {
  VERDICT_ASSIGN_OR_RETURN(const auto target,
                           CheckTarget("--outputs", flags.outputs,
                                       {{"the model", flags.model}, {"the inputs", flags.inputs}}));
  VERDICT_ASSIGN_OR_RETURN(const NamedTensors inputs, ReadNpz(flags.inputs));
  VERDICT_ASSIGN_OR_RETURN(const auto engine, LoadModel(flags, inputs));
  if (!engine->notice().empty())
    std::fprintf(stderr, "note: %s\n", TerminalText(engine->notice()).c_str());
  VERDICT_ASSIGN_OR_RETURN(const auto views, BindInputs(engine->graph(), inputs, flags.inputs));
  VERDICT_ASSIGN_OR_RETURN(const DeviceUse use, UseDevice(engine, flags.device, 1));
  VERDICT_ASSIGN_OR_RETURN(const auto session, Session::Create(engine));
  const auto results = session->Run(views);
  if (!results.ok()) return results.status().WithContext(flags.model);
  if (use.host != nullptr && session->last_backend() == "cpu") {
    std::fprintf(stderr, "note: the CPU plan has answered: %s\n",
                 TerminalText(use.host->totals().last_fault).c_str());
  } else if (use.text != "cpu") {
    std::fprintf(stderr, "note: ran on %s\n", TerminalText(use.text).c_str());
  }
  std::vector<std::pair<std::string, TensorView>> outputs;
  std::string text;
  for (size_t i = 0; i < results->size(); ++i) {
    const TensorView& output = (*results)[i];
    outputs.emplace_back(engine->outputs()[i].name, output);
    text += (text.empty() ? "" : ", ") + engine->outputs()[i].name + " " +
            std::string(DataTypeName(output.dtype)) + ToString(output.shape);
  }
  VERDICT_RETURN_IF_ERROR(WriteNpz(target, outputs));
  std::printf("%s: %s\n", flags.outputs.c_str(), TerminalText(text).c_str());
  return OkStatus();
}

std::function<Status()> Declare(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  app.add_option("model", flags->model, "an ONNX model or an engine")
      ->required()
      ->type_name("FILE");
  app.add_option("--inputs", flags->inputs, "arrays by input name: np.savez(file, x=x)")
      ->required()
      ->type_name("FILE.npz");
  app.add_option("--outputs", flags->outputs, "where the outputs go")
      ->required()
      ->type_name("FILE.npz");
  AddDeviceUseFlags(app, flags->device);
  AddHelpAll(app, "the other flags too: devices");
  return [flags] { return RunModel(*flags); };
}

}  // namespace

const Subcommand kRunCommand = {.name = "run",
                                .summary = "Runs a model or engine on arrays of an .npz file.",
                                .example =
                                    "  python3 -c \"import numpy as np;"
                                    " np.savez('in.npz', x=np.zeros((1, 30), 'f'))\"\n"
                                    "  verdict run m.engine --inputs in.npz --outputs out.npz",
                                .declare = Declare};

}  // namespace verdict
