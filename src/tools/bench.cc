#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>

#include "base/file.h"
#include "base/json_writer.h"
#include "base/terminal_text.h"
#include "tools/bind_inputs.h"
#include "tools/device_use.h"
#include "tools/help_all.h"
#include "tools/latency_summary.h"
#include "tools/layer_profile.h"
#include "tools/load_generator.h"
#include "tools/model_file.h"
#include "tools/subcommand.h"
#include "tools/target_file.h"

namespace verdict {
namespace {

constexpr double kUnstable = 0.025;  // trtexec warns above this coefficient of variation
constexpr int kMaxStreams = 1024;
constexpr int kProfiledRuns = 100;

struct Flags {
  std::string engine, onnx, shapes, inputs, times, profile, layers;
  bool dump_profile = false, dump_layers = false;
  DeviceUseFlags device;
  std::vector<double> percentiles = {90, 95, 99};
  LoadOptions load;
};

Result<std::shared_ptr<const Engine>> LoadEngine(const Flags& flags, const NamedShapes& shapes,
                                                 const NamedTensors& inputs) {
  if (!flags.engine.empty()) return Engine::Load(flags.engine);
  VERDICT_ASSIGN_OR_RETURN(ImportedModel model, ImportOnnx(flags.onnx));
  CompileOptions options;
  options.opt_shapes = shapes;
  if (!flags.inputs.empty()) {
    VERDICT_RETURN_IF_ERROR(BindInputs(model.graph, inputs, flags.inputs).status());
    options.opt_shapes.clear();
    for (const auto& [name, tensor] : inputs) options.opt_shapes.emplace_back(name, tensor.shape);
  }
  VERDICT_ASSIGN_OR_RETURN(CompileResult compiled,
                           CompileImported(std::move(model), flags.onnx, options));
  return Engine::FromContents(std::move(compiled.contents));
}

/// Standard normal floats, zeros for the rest (an index that every table has), empty strings.
Constant RandomInput(DataType dtype, const Shape& shape, std::mt19937_64& random) {
  const int64_t count = NumElements(shape).value();
  if (dtype == DataType::kString) {
    return Constant::OfStrings(shape, std::vector<std::string>(static_cast<size_t>(count)));
  }
  auto [constant, data] = Constant::Allocate(dtype, shape);
  std::fill_n(static_cast<std::byte*>(data), ByteSize(dtype, shape).value(), std::byte{0});
  std::normal_distribution<float> normal;
  for (int64_t i = 0; i < count; ++i) {
    if (dtype == DataType::kFloat32) static_cast<float*>(data)[i] = normal(random);
    if (dtype == DataType::kFloat64) static_cast<double*>(data)[i] = normal(random);
  }
  return std::move(constant);
}

/// Inputs of the shapes asked for; the profile's opt shape where none is.
Result<NamedTensors> RandomInputs(const Engine& engine, const NamedShapes& shapes) {
  std::vector<Shape> chosen;
  for (const InputRange& range : engine.profiles().front().inputs) chosen.push_back(range.opt);
  for (const auto& [name, shape] : shapes) {
    size_t index = 0;
    while (index < chosen.size() && engine.inputs()[index].name != name) ++index;
    if (index == chosen.size()) {
      return InvalidArgument("--shapes: there is no input '" + name +
                             "'; `verdict inspect` lists "
                             "the inputs");
    }
    chosen[index] = shape;
  }
  Status fits;  // of the last profile
  for (const Profile& profile : engine.profiles()) {
    fits = CheckShapes(profile, chosen);
    if (fits.ok()) break;
  }
  if (!fits.ok()) return fits.WithContext("--shapes");
  std::mt19937_64 random(0);
  NamedTensors tensors;
  for (size_t i = 0; i < chosen.size(); ++i) {
    const TensorSpec& input = engine.inputs()[i];
    VERDICT_RETURN_IF_ERROR(ByteSize(input.dtype, chosen[i]).status());
    tensors.emplace(input.name, RandomInput(input.dtype, chosen[i], random));
  }
  return tensors;
}

/// As trtexec's --exportTimes: one object a run.
Status ExportTimes(const std::filesystem::path& path, const std::vector<RunTime>& runs) {
  JsonWriter json;
  json.BeginArray();
  for (const RunTime& run : runs) {
    json.BeginObject().Key("startComputeMs").Number(run.start_ms);
    json.Key("endComputeMs").Number(run.end_ms);
    json.Key("computeMs").Number(run.end_ms - run.start_ms);
    json.Key("latencyMs").Number(run.end_ms - run.start_ms).EndObject();
  }
  json.EndArray();
  const std::array parts = {std::as_bytes(std::span(json.text()))};
  return WriteFileAtomically(path, parts);
}

/// --dumpProfile, --dumpLayerInfo and their --export… .
Status ShowDeviceEngine(const Flags& flags, const Engine& engine,
                        std::span<const TensorView> inputs, const std::filesystem::path& profile) {
  const bool profiles = flags.dump_profile || !profile.empty();
  const bool shows_layers = flags.dump_layers || !flags.layers.empty();
  if (!profiles && !shows_layers) return OkStatus();
  const std::shared_ptr<DeviceEngine> device = DeviceEngineOf(engine);
  if (device == nullptr) {
    return Unimplemented(
        "profiles and layers are of devices alone, and the engine runs on the CPU plan; `verdict "
        "build --verbose` shows what its tactics take");
  }
  if (shows_layers) {
    VERDICT_ASSIGN_OR_RETURN(const std::string json, device->LayerInformation());
    VERDICT_RETURN_IF_ERROR(ShowLayers(json, flags.dump_layers, flags.layers));
  }
  if (!profiles) return OkStatus();
  VERDICT_ASSIGN_OR_RETURN(const auto layers, ProfileRuns(*device, inputs, kProfiledRuns));
  if (flags.dump_profile) std::printf("%s", ProfileTable(layers, kProfiledRuns).c_str());
  if (profile.empty()) return OkStatus();
  const std::string json = ProfileJson(layers, kProfiledRuns);
  const std::array parts = {std::as_bytes(std::span(json))};
  return WriteFileAtomically(profile, parts);
}

/// Whether all runs were answered where they were to be.
void ReportBackend(const DeviceUse& use, const LoadResult& result) {
  const uint64_t on_cpu = result.runs.size() - result.device_runs;
  if (use.host == nullptr || on_cpu == 0) return;
  std::printf("Warning: the CPU plan has answered %llu of %zu runs. %s\n",
              static_cast<unsigned long long>(on_cpu), result.runs.size(),
              TerminalText(use.host->totals().last_fault).c_str());
}

void Report(const Flags& flags, const LoadResult& result) {
  std::vector<double> latencies_ms;
  latencies_ms.reserve(result.runs.size());
  for (const RunTime& run : result.runs) latencies_ms.push_back(run.end_ms - run.start_ms);
  const LatencySummary summary = Summarize(std::move(latencies_ms), flags.percentiles);
  std::printf("=== Performance summary ===\n");
  std::printf("Throughput: %s qps\n",
              FiveDigits(static_cast<double>(result.runs.size()) / result.wall_s).c_str());
  std::printf("%s\n", LatencyLine(summary, flags.percentiles).c_str());
  std::printf("Total Host Walltime: %s s\n", FiveDigits(result.wall_s).c_str());
  if (summary.coefficient_of_variation > kUnstable) {
    std::printf(
        "Warning: latency is unstable, with a coefficient of variation of %.2f%%.\n"
        "  An idle machine, a fixed clock and a pinned core (taskset -c 1 verdict bench …) steady "
        "it.\n",
        100 * summary.coefficient_of_variation);
  }
}

Status Measure(const Flags& flags) {
  const auto target = [&flags](const char* flag,
                               const std::string& path) -> Result<std::filesystem::path> {
    if (path.empty()) return std::filesystem::path();
    const std::string& model = flags.engine.empty() ? flags.onnx : flags.engine;
    return CheckTarget(flag, path, {{"the model", model}, {"the inputs", flags.inputs}});
  };
  VERDICT_ASSIGN_OR_RETURN(const auto times, target("--exportTimes", flags.times));
  VERDICT_ASSIGN_OR_RETURN(const auto profile, target("--exportProfile", flags.profile));
  VERDICT_ASSIGN_OR_RETURN(const NamedShapes shapes, ParseShapes(flags.shapes));
  NamedTensors inputs;
  if (!flags.inputs.empty()) {
    VERDICT_ASSIGN_OR_RETURN(inputs, ReadNpz(flags.inputs));
  }
  VERDICT_ASSIGN_OR_RETURN(const auto engine, LoadEngine(flags, shapes, inputs));
  if (!engine->notice().empty()) std::printf("Note: %s\n", TerminalText(engine->notice()).c_str());
  if (flags.inputs.empty()) {
    VERDICT_ASSIGN_OR_RETURN(inputs, RandomInputs(*engine, shapes));
  }
  const std::string source = flags.inputs.empty() ? "random inputs" : flags.inputs;
  VERDICT_ASSIGN_OR_RETURN(const auto views, BindInputs(engine->graph(), inputs, source));
  for (size_t i = 0; i < views.size(); ++i) {
    std::printf("Input %s: %s%s\n", TerminalText(engine->inputs()[i].name).c_str(),
                std::string(DataTypeName(views[i].dtype)).c_str(),
                ToString(views[i].shape).c_str());
  }
  VERDICT_ASSIGN_OR_RETURN(const DeviceUse use,
                           UseDevice(engine, flags.device, flags.load.threads));
  std::printf("Backend: %s\n", TerminalText(use.text).c_str());
  VERDICT_ASSIGN_OR_RETURN(const LoadResult result, GenerateLoad(engine, views, flags.load));
  Report(flags, result);
  ReportBackend(use, result);
  if (!times.empty()) VERDICT_RETURN_IF_ERROR(ExportTimes(times, result.runs));
  return ShowDeviceEngine(flags, *engine, views, profile);
}

/// As trtexec: the first and the last line say what was run, the last whether it worked.
Status Bench(const Flags& flags) {
  const std::string& model = flags.engine.empty() ? flags.onnx : flags.engine;
  const std::string title = "verdict.bench [verdict " VERDICT_VERSION "] # " + model;
  std::printf("&&&& RUNNING %s\n", title.c_str());
  Status status = Measure(flags);
  std::printf("&&&& %s %s\n", status.ok() ? "PASSED" : "FAILED", title.c_str());
  return status;
}

/// CLI11's range check, without its text in --help; nan, which CLI11's lets through, is refused.
CLI::Validator Within(double min, double max) {
  const auto check = [range = CLI::Range(min, max)](std::string& text) {
    return std::isnan(std::strtod(text.c_str(), nullptr)) ? text + " is not a number" : range(text);
  };
  return {check, ""};
}

std::function<Status()> Declare(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  app.add_option("--loadEngine", flags->engine, "an engine file")->type_name("FILE");
  app.add_option("--onnx", flags->onnx, "or a model, compiled for --shapes")->type_name("FILE");
  AddShapesFlag(app, "--shapes", flags->shapes, "x:1x30; default: what it was built for");
  app.add_option("--loadInputs", flags->inputs, "inputs instead of --shapes and random ones")
      ->type_name("FILE.npz");
  app.add_option("--warmUp", flags->load.warm_up_ms, "milliseconds before measuring")
      ->type_name("MS")
      ->check(Within(0, 1e9))
      ->capture_default_str();
  app.add_option("--duration", flags->load.duration_s, "least seconds of measuring")
      ->type_name("S")
      ->check(Within(0, 1e6))
      ->capture_default_str();
  app.add_option("--iterations", flags->load.iterations, "least runs a stream")
      ->type_name("N")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 26).description(""))
      ->capture_default_str();
  app.add_option("--percentile", flags->percentiles, "of latency")
      ->type_name("P")
      ->delimiter(',')
      ->check(Within(0, 100))
      ->default_str("90,95,99");
  app.add_option("--streams", flags->load.threads, "sessions, each on a thread of its own")
      ->type_name("N")
      ->check(CLI::Range(1, kMaxStreams).description(""))
      ->capture_default_str();
  AddDeviceUseFlags(app, flags->device);
  app.add_option("--exportTimes", flags->times, "every run's times, as JSON")->type_name("FILE");
  const auto rare = [](CLI::Option* option) { return option->group(kRareOptions); };
  rare(app.add_flag("--dumpProfile", flags->dump_profile, "what each layer takes on a device"));
  rare(app.add_option("--exportProfile", flags->profile, "the same, as JSON"))->type_name("FILE");
  rare(app.add_flag("--dumpLayerInfo", flags->dump_layers, "a device's layers, as JSON"));
  rare(app.add_option("--exportLayerInfo", flags->layers, "the same, to a file"))
      ->type_name("FILE");
  AddHelpAll(app, "the other flags too: devices, profiles, …");
  app.parse_complete_callback([flags] {
    if (flags->engine.empty() == flags->onnx.empty()) {
      throw CLI::ValidationError("give either --loadEngine or --onnx");
    }
    if (!flags->shapes.empty() && !flags->inputs.empty()) {
      throw CLI::ValidationError("give either --shapes or --loadInputs");
    }
  });
  return [flags] { return Bench(*flags); };
}

}  // namespace

const Subcommand kBenchCommand = {
    .name = "bench",
    .summary = "Measures latency and throughput, as trtexec does.",
    .example = "  verdict bench --loadEngine m.engine --shapes x:1x30 --duration 5",
    .declare = Declare};

}  // namespace verdict
