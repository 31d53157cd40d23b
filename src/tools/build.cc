#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <memory>
#include <sstream>

#include "base/file.h"
#include "base/terminal_text.h"
#include "runtime/engine.h"
#include "runtime/session.h"
#include "serve/batching/engine_rows.h"
#include "serve/batching/row_trial.h"
#include "tools/build_flags.h"
#include "tools/device_build.h"
#include "tools/model_file.h"
#include "tools/precision_build.h"
#include "tools/subcommand.h"

namespace verdict {
namespace {

void PrintTable(const PrecisionReport& report) {
  std::istringstream table(ToTable(report));
  for (std::string line; std::getline(table, line);) {
    std::printf("%s\n", TerminalText(line).c_str());
  }
}

void PrintNotes(std::span<const std::string> notes) {
  for (const std::string& note : notes) {
    std::fprintf(stderr, "verdict build: note: %s\n", TerminalText(note).c_str());
  }
}

/// Where --report goes; empty without it.
Result<std::filesystem::path> ReportPath(const BuildFlags& flags) {
  if (flags.report.empty()) return std::filesystem::path();
  return CheckTargetOf(flags, "--report", flags.report, {{"the engine", flags.engine}});
}

Status WriteReport(const std::filesystem::path& path,
                   const std::optional<PrecisionReport>& report) {
  if (path.empty() || !report) return OkStatus();
  const std::string page = ToHtml(*report);
  const std::array parts = {std::as_bytes(std::span(page))};
  return WriteFileAtomically(path, parts);
}

/// The table of what is in the engine, or, where that is float32, of everything that was tried; of
/// the others a line.
void PrintAttempts(const PrecisionBuild& build) {
  for (size_t i = 0; i < build.attempts.size(); ++i) {
    const PrecisionAttempt& attempt = build.attempts[i];
    const std::string& name = attempt.name;
    if (attempt.report && (!build.chosen || build.chosen == i)) {
      PrintTable(*attempt.report);
    } else if (attempt.report) {
      std::printf("  %s would lose %.5f of the ROC-AUC\n", name.c_str(),
                  attempt.report->scores.auc_drop());
    }
    for (const SpeedComparison& times : attempt.speeds) {
      std::printf("  %s: float32 %.4g us, %s %.4g us: %.2f times as fast\n",
                  ToString(times.first_input).c_str(), times.baseline_us, name.c_str(),
                  times.candidate_us, times.baseline_us / times.candidate_us);
    }
  }
  if (build.refusal.empty() && (!build.chosen || build.attempts.size() > 1)) {
    std::printf("%s is taken\n",
                build.chosen ? build.attempts[*build.chosen].name.c_str() : "float32");
  }
}

/// The build below float32: what was found goes to the terminal, into the metadata and to --report.
Result<CompileResult> CompilePrecision(const BuildFlags& flags, const ImportedModel& model,
                                       const CompileOptions& options) {
  VERDICT_ASSIGN_OR_RETURN(const PrecisionOptions precision, PrecisionOptionsOf(flags));
  VERDICT_ASSIGN_OR_RETURN(const auto report_path, ReportPath(flags));
  VERDICT_ASSIGN_OR_RETURN(PrecisionBuild build,
                           BuildPrecision(model, flags.onnx, options, precision));
  PrintAttempts(build);
  const auto first = std::ranges::find_if(
      build.attempts, [](const PrecisionAttempt& attempt) { return attempt.report.has_value(); });
  const std::optional<PrecisionReport> report = build.chosen ? build.attempts[*build.chosen].report
                                                : first != build.attempts.end() ? first->report
                                                                                : std::nullopt;
  if (report && build.chosen) {
    build.compiled.contents.metadata["precision_report"] = ToJson(*report);
  }
  if (!report && !report_path.empty()) {
    build.notes.push_back(flags.report + " was not written: there is nothing to report");
  }
  VERDICT_RETURN_IF_ERROR(WriteReport(report_path, report));
  PrintNotes(build.notes);
  if (!build.refusal.empty()) return FailedPrecondition(build.refusal);
  return std::move(build.compiled);
}

/// Whether rows are independent on the CPU, and so anywhere.
bool HasIndependentRows(const EngineContents& contents) {
  const auto engine = Engine::FromContents(contents);
  if (!engine.ok()) return false;
  const EngineRows rows = RowsOf(**engine);
  if (!rows.has_batch) return false;
  const auto session = Session::Create(*engine);
  return session.ok() && TryRowsApart(**session, rows.max).ok();
}

Result<DeviceBuildRequest> DeviceRequestOf(const BuildFlags& flags) {
  DeviceBuildRequest request;
  VERDICT_ASSIGN_OR_RETURN(request.build, DeviceBuildOptionsOf(flags.device_build));
  request.is_explicit = flags.device_build.explicit_precision;
  VERDICT_ASSIGN_OR_RETURN(request.precision, PrecisionOptionsOf(flags));
  if (!request.is_explicit) std::swap(request.save_cache, request.precision.cache);
  if (!flags.timing_cache.empty()) {
    // Beside ours, which holds times of the CPU.
    VERDICT_ASSIGN_OR_RETURN(request.timing_cache,
                             CheckTargetOf(flags, "--timingCacheFile (the device's beside it)",
                                           flags.timing_cache + "." + flags.device.backend,
                                           {{"the engine", flags.engine}}));
  }
  if (!flags.device_build.export_layers.empty()) {
    VERDICT_RETURN_IF_ERROR(
        CheckTargetOf(flags, "--exportLayerInfo", flags.device_build.export_layers,
                      {{"the engine", flags.engine}, {"the report", flags.report}})
            .status());
  }
  request.rows_independent = HasIndependentRows;
  if (flags.verbose) {
    request.log = [](const std::string& line) {
      std::printf("  %s\n", TerminalText(line).c_str());
    };
  }
  return request;
}

/// The build for a device: what was found goes to the terminal, into the metadata and to --report.
Result<CompileResult> CompileForDevice(const BuildFlags& flags, const ImportedModel& model,
                                       const CompileOptions& options,
                                       std::shared_ptr<Device> device) {
  VERDICT_ASSIGN_OR_RETURN(const DeviceBuildRequest request, DeviceRequestOf(flags));
  VERDICT_ASSIGN_OR_RETURN(const auto report_path, ReportPath(flags));
  VERDICT_ASSIGN_OR_RETURN(DeviceBuild build,
                           BuildForDevice(model, flags.onnx, options, std::move(device), request));
  if (build.report) {
    PrintTable(*build.report);
    build.compiled.contents.metadata["device_precision_report"] = ToJson(*build.report);
  } else if (!report_path.empty()) {
    build.notes.push_back(flags.report + " was not written: there is nothing to report");
  }
  VERDICT_RETURN_IF_ERROR(WriteReport(report_path, build.report));
  PrintNotes(build.notes);
  if (!build.refusal.empty()) return FailedPrecondition(build.refusal);
  std::printf("%s is taken on the device\n", build.precision.c_str());
  VERDICT_RETURN_IF_ERROR(
      ShowLayers(build.layers, flags.device_build.dump_layers, flags.device_build.export_layers));
  return std::move(build.compiled);
}

void PrintPasses(const std::vector<PassTiming>& passes) {
  std::printf("passes:\n");
  for (const PassTiming& pass : passes) {
    std::printf("  %-34s %10.0f us  %5d -> %d nodes\n", pass.name.c_str(), pass.microseconds,
                pass.nodes_before, pass.nodes_after);
  }
}

void PrintEngine(const EngineContents& contents) {
  const Graph& graph = contents.graph;
  const Profile& profile = contents.profiles.front();
  for (size_t i = 0; i < graph.inputs.size(); ++i) {
    const InputRange& range = profile.inputs[i];
    std::printf("  input   %s  min %s  opt %s  max %s\n",
                TensorText(graph, graph.inputs[i]).c_str(), ToString(range.min).c_str(),
                ToString(range.opt).c_str(), ToString(range.max).c_str());
  }
  for (ValueId id : graph.outputs) std::printf("  output  %s\n", TensorText(graph, id).c_str());
  std::printf("  planned for %s: %zu nodes, %llu bytes of working memory, %zu golden vectors\n",
              contents.plan.target.c_str(), graph.nodes.size(),
              static_cast<unsigned long long>(contents.plan.layouts.front().arena_bytes),
              contents.golden.size());
}

void PrintDevicePlans(const EngineContents& contents) {
  for (const DevicePlan& plan : contents.device_plans) {
    const auto on_device = std::ranges::count_if(
        plan.parts, [](const DevicePart& part) { return part.part.on_device; });
    size_t bytes = 0;
    for (const DevicePart& part : plan.parts) bytes += part.program.size();
    std::printf("  planned for %s: %zu parts, %td of them on the device, programs of %zu bytes\n",
                TerminalText(plan.fingerprint).c_str(), plan.parts.size(), on_device, bytes);
  }
}

/// As every server does when it loads the engine.
Status CheckGolden(const EngineContents& contents) {
  VERDICT_ASSIGN_OR_RETURN(const auto engine, Engine::FromContents(contents));
  const Status status = Engine::CheckGolden(engine);
  return status.ok() ? status : status.WithContext("the engine does not compute what it should");
}

Status Build(const BuildFlags& flags) {
  const auto start = std::chrono::steady_clock::now();
  VERDICT_ASSIGN_OR_RETURN(const CompileOptions options, CompileOptionsOf(flags));
  VERDICT_ASSIGN_OR_RETURN(const auto target, CheckTargetOf(flags, "--saveEngine", flags.engine));
  VERDICT_RETURN_IF_ERROR(CheckTogether(flags));
  VERDICT_ASSIGN_OR_RETURN(ImportedModel model, ImportOnnx(flags.onnx));
  std::shared_ptr<Device> device;
  if (flags.for_device()) {
    VERDICT_ASSIGN_OR_RETURN(device, OpenChosenDevice(flags.device));
    std::printf("device %d: %s, %s\n", device->info().index,
                TerminalText(device->info().name).c_str(),
                TerminalText(device->info().versions).c_str());
  }
  if (flags.verbose) {
    std::printf("imported %s: %zu nodes\ntactics:\n", flags.onnx.c_str(), model.graph.nodes.size());
  }
  VERDICT_ASSIGN_OR_RETURN(const CompileResult compiled,
                           device != nullptr ? CompileForDevice(flags, model, options, device)
                           : AllowedBy(flags).empty()
                               ? CompileImported(std::move(model), flags.onnx, options)
                               : CompilePrecision(flags, model, options));
  if (flags.verbose) PrintPasses(compiled.passes);
  VERDICT_RETURN_IF_ERROR(CheckGolden(compiled.contents));
  VERDICT_RETURN_IF_ERROR(WriteEngineFile(target, compiled.contents));
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  std::error_code error;
  const auto bytes = std::filesystem::file_size(target, error);  // none of a pipe or device
  std::printf("%s: %sbuilt in %.2f s from %s\n", flags.engine.c_str(),
              error ? "" : (std::to_string(bytes) + " bytes, ").c_str(), seconds.count(),
              flags.onnx.c_str());
  PrintEngine(compiled.contents);
  PrintDevicePlans(compiled.contents);
  if (compiled.contents.golden.empty()) {
    std::fprintf(stderr,
                 "verdict build: warning: no golden vectors: the reference kernels fail on made-up "
                 "inputs, or the least shapes are too large; servers load this engine unchecked\n");
  }
  return OkStatus();
}

std::function<Status()> Declare(CLI::App& app) {
  auto flags = std::make_shared<BuildFlags>();
  AddBuildFlags(app, *flags);
  return [flags] {
    ChooseBackend(*flags);
    return Build(*flags);
  };
}

}  // namespace

const Subcommand kBuildCommand = {
    .name = "build",
    .summary = "Compiles an ONNX model into an engine file.",
    .example =
        "  verdict build --onnx m.onnx --saveEngine m.engine \\\n"
        "    --minShapes x:1x30 --optShapes x:8x30 --maxShapes x:128x30",
    .declare = Declare};

}  // namespace verdict
