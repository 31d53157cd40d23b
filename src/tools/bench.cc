#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>

#include "base/file.h"
#include "base/json_writer.h"
#include "base/terminal_text.h"
#include "tools/bind_inputs.h"
#include "tools/latency_summary.h"
#include "tools/load_generator.h"
#include "tools/model_file.h"
#include "tools/subcommand.h"
#include "tools/target_file.h"

namespace verdict {
namespace {

constexpr double kUnstable = 0.025;  // trtexec warns above this coefficient of variation
constexpr int kMaxStreams = 1024;

struct Flags {
  std::string engine, onnx, shapes, inputs, times;
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
  std::filesystem::path times;
  if (!flags.times.empty()) {
    const std::string& model = flags.engine.empty() ? flags.onnx : flags.engine;
    VERDICT_ASSIGN_OR_RETURN(times,
                             CheckTarget("--exportTimes", flags.times,
                                         {{"the model", model}, {"the inputs", flags.inputs}}));
  }
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
  VERDICT_ASSIGN_OR_RETURN(const LoadResult result, GenerateLoad(engine, views, flags.load));
  Report(flags, result);
  if (!times.empty()) VERDICT_RETURN_IF_ERROR(ExportTimes(times, result.runs));
  return OkStatus();
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
  app.add_option("--exportTimes", flags->times, "every run's times, as JSON")->type_name("FILE");
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
