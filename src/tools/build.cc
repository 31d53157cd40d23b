#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <set>
#include <sstream>

#include "backends/registry.h"
#include "base/file.h"
#include "base/terminal_text.h"
#include "compile/pipeline.h"
#include "quant/calibration_cache.h"
#include "runtime/engine.h"
#include "tools/help_all.h"
#include "tools/model_file.h"
#include "tools/precision_build.h"
#include "tools/subcommand.h"
#include "tools/target_file.h"
#include "tune/timing_cache.h"

namespace verdict {
namespace {

struct Flags {
  std::string onnx, engine;
  std::string shapes, min_shapes, opt_shapes, max_shapes;
  std::vector<std::string> disabled_passes;
  std::string backend;
  std::string timing_cache;
  bool error_on_timing_cache_miss = false;
  bool int8 = false, bf16 = false, fp16 = false, best = false;
  std::string calibration, evaluation, labels, label_column, observer = "auto", calibration_cache,
                                                             score;
  std::string report;
  bool allow_nan = false;
  std::string precision_constraints = "none";
  double max_auc_drop = 0.001;
  bool verbose = false;
};

/// What the layers may compute in; empty: float32 alone.
std::vector<Precision> AllowedBy(const Flags& flags) {
  std::vector<Precision> allowed;
  const bool all = flags.best && !flags.int8 && !flags.bf16 && !flags.fp16;
  if (flags.int8 || all) allowed.push_back(Precision::kInt8);
  if (flags.bf16 || all) allowed.push_back(Precision::kBFloat16);
  if (flags.fp16 || all) allowed.push_back(Precision::kFloat16);
  return allowed;
}

/// What only says how to go below float32 means nothing without doing so.
Status CheckTogether(const Flags& flags) {
  const std::vector<Precision> allowed = AllowedBy(flags);
  if (!allowed.empty() && allowed.front() == Precision::kInt8 && flags.calibration.empty()) {
    return InvalidArgument(
        "--int8 and --best need --calib FILE: samples of the model's inputs (.npz, .csv, .jsonl), "
        "or a calibration cache");
  }
  if (!flags.calibration_cache.empty() && flags.calibration.empty()) {
    return InvalidArgument("--saveCalib needs --calib FILE");
  }
  const std::pair<const char*, const std::string*> useless[] = {{"--calib", &flags.calibration},
                                                                {"--evaluate", &flags.evaluation},
                                                                {"--labels", &flags.labels},
                                                                {"--report", &flags.report}};
  for (const auto& [name, value] : useless) {
    if (allowed.empty() && !value->empty()) {
      return InvalidArgument(std::string(name) +
                             " is for --int8, --bf16, --fp16 or --best; none is given");
    }
  }
  return OkStatus();
}

/// Every file that a build reads, as people call it.
std::vector<std::pair<std::string_view, std::filesystem::path>> FilesRead(const Flags& flags) {
  return {{"the model", flags.onnx},
          {"the samples", flags.calibration},
          {"the labelled samples", flags.evaluation},
          {"the labels", flags.labels},
          {"the timing cache", flags.timing_cache}};
}

/// As CheckTarget, against what is read and the targets before it.
Result<std::filesystem::path> CheckTargetOf(
    const Flags& flags, const std::string& flag, const std::string& path,
    std::initializer_list<std::pair<std::string_view, std::filesystem::path>> targets = {}) {
  auto others = FilesRead(flags);
  others.insert(others.end(), targets);
  return CheckTarget(flag, path, others);
}

Result<PrecisionOptions> PrecisionOptionsOf(const Flags& flags) {
  PrecisionOptions options;
  options.allowed = AllowedBy(flags);
  options.calibration = flags.calibration;
  options.data.labels = flags.labels;
  options.data.label_column = flags.label_column;
  options.data.allow_nan = flags.allow_nan;
  options.evaluation = flags.evaluation;
  options.max_auc_drop = flags.max_auc_drop;
  options.score = flags.score;
  options.best = flags.best;
  options.obey = flags.precision_constraints == "obey";
  VERDICT_ASSIGN_OR_RETURN(options.observer, ParseObserver(flags.observer));
  if (!flags.calibration_cache.empty()) {
    VERDICT_ASSIGN_OR_RETURN(
        options.cache, CheckTargetOf(flags, "--saveCalib", flags.calibration_cache,
                                     {{"the engine", flags.engine}, {"the report", flags.report}}));
    VERDICT_RETURN_IF_ERROR(
        CheckTargetOf(flags, "--saveCalib (the digest beside it)", DigestPath(options.cache),
                      {{"the engine", flags.engine}, {"the report", flags.report}})
            .status());
  }
  return options;
}

/// The table of what is in the engine, or, where that is float32, of everything that was tried; of
/// the others a line.
void PrintAttempts(const PrecisionBuild& build) {
  for (size_t i = 0; i < build.attempts.size(); ++i) {
    const PrecisionAttempt& attempt = build.attempts[i];
    const std::string& name = attempt.name;
    if (attempt.report && (!build.chosen || build.chosen == i)) {
      std::istringstream table(ToTable(*attempt.report));
      for (std::string line; std::getline(table, line);) {
        std::printf("%s\n", TerminalText(line).c_str());
      }
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
Result<CompileResult> CompilePrecision(const Flags& flags, const ImportedModel& model,
                                       const CompileOptions& options) {
  VERDICT_ASSIGN_OR_RETURN(const PrecisionOptions precision, PrecisionOptionsOf(flags));
  std::filesystem::path report_path;
  if (!flags.report.empty()) {
    VERDICT_ASSIGN_OR_RETURN(report_path, CheckTargetOf(flags, "--report", flags.report,
                                                        {{"the engine", flags.engine}}));
  }
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
  if (report && !report_path.empty()) {
    const std::string page = ToHtml(*report);
    const std::array parts = {std::as_bytes(std::span(page))};
    VERDICT_RETURN_IF_ERROR(WriteFileAtomically(report_path, parts));
  }
  for (const std::string& note : build.notes) {
    std::fprintf(stderr, "verdict build: note: %s\n", TerminalText(note).c_str());
  }
  if (!build.refusal.empty()) return FailedPrecondition(build.refusal);
  return std::move(build.compiled);
}

Result<CompileOptions> OptionsOf(const Flags& flags) {
  CompileOptions options;
  const auto parse = [&](const std::string& own) {
    return ParseShapes(own.empty() ? flags.shapes : own);
  };
  VERDICT_ASSIGN_OR_RETURN(options.min_shapes, parse(flags.min_shapes));
  VERDICT_ASSIGN_OR_RETURN(options.opt_shapes, parse(flags.opt_shapes));
  VERDICT_ASSIGN_OR_RETURN(options.max_shapes, parse(flags.max_shapes));
  options.disabled_passes = flags.disabled_passes;
  options.backend = flags.backend;
  if (!flags.timing_cache.empty()) {
    VERDICT_ASSIGN_OR_RETURN(
        options.timing_cache,
        CheckTarget("--timingCacheFile", flags.timing_cache, {{"the model", flags.onnx}}));
    VERDICT_RETURN_IF_ERROR(TimingCache::Load(options.timing_cache).status());
  }
  options.error_on_timing_cache_miss = flags.error_on_timing_cache_miss;
  if (flags.verbose) {
    options.log = [](const std::string& line) {
      std::printf("  %s\n", TerminalText(line).c_str());
    };
  }
  return options;
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

/// As every server does when it loads the engine.
Status CheckGolden(const EngineContents& contents) {
  VERDICT_ASSIGN_OR_RETURN(const auto engine, Engine::FromContents(contents));
  const Status status = Engine::CheckGolden(engine);
  return status.ok() ? status : status.WithContext("the engine does not compute what it should");
}

Status Build(const Flags& flags) {
  const auto start = std::chrono::steady_clock::now();
  VERDICT_ASSIGN_OR_RETURN(const CompileOptions options, OptionsOf(flags));
  VERDICT_ASSIGN_OR_RETURN(const auto target, CheckTargetOf(flags, "--saveEngine", flags.engine));
  VERDICT_RETURN_IF_ERROR(CheckTogether(flags));
  VERDICT_ASSIGN_OR_RETURN(ImportedModel model, ImportOnnx(flags.onnx));
  if (flags.verbose) {
    std::printf("imported %s: %zu nodes\ntactics:\n", flags.onnx.c_str(), model.graph.nodes.size());
  }
  VERDICT_ASSIGN_OR_RETURN(const CompileResult compiled,
                           AllowedBy(flags).empty()
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
  if (compiled.contents.golden.empty()) {
    std::fprintf(stderr,
                 "verdict build: warning: no golden vectors: the reference kernels fail on made-up "
                 "inputs, or the least shapes are too large; servers load this engine unchecked\n");
  }
  return OkStatus();
}

std::function<Status()> Declare(CLI::App& app) {
  std::set<std::string> passes, backends;
  for (const Pass* pass : Pipeline()) passes.emplace(pass->name);
  for (const Backend* backend : AllBackends()) backends.emplace(backend->name);
  auto flags = std::make_shared<Flags>();
  app.add_option("--onnx", flags->onnx, "the model")->required()->type_name("FILE");
  app.add_option("--saveEngine", flags->engine, "where the engine goes")
      ->required()
      ->type_name("FILE");
  AddShapesFlag(app, "--minShapes", flags->min_shapes, "least input shapes: x:1x30,ids:1x4");
  AddShapesFlag(app, "--optShapes", flags->opt_shapes, "shapes to be fastest at");
  AddShapesFlag(app, "--maxShapes", flags->max_shapes, "largest input shapes");
  AddShapesFlag(app, "--shapes", flags->shapes, "all three at once");
  app.add_flag("--int8", flags->int8, "quantize: four times smaller, faster");
  app.add_flag("--bf16", flags->bf16, "layers in bfloat16: twice smaller");
  app.add_flag("--fp16", flags->fp16, "layers in float16; what overflows stays in float32");
  app.add_option("--calib", flags->calibration, "samples of the inputs, or a calibration cache")
      ->type_name("FILE");
  app.add_option("--evaluate", flags->evaluation, "samples with labels to keep the ROC-AUC on")
      ->type_name("FILE");
  app.add_flag("--best", flags->best, "the fastest of these that passes, or float32");
  const auto add_rare = [&app](const char* flag, auto& value, const char* type, const char* help) {
    return app.add_option(flag, value, help)->type_name(type)->group(kRareOptions);
  };
  add_rare("--max-auc-drop", flags->max_auc_drop, "D", "default 0.001")
      ->check([](const std::string& text) {
        char* end = nullptr;
        const double drop = std::strtod(text.c_str(), &end);
        const bool is_number = !text.empty() && *end == '\0';
        return is_number && drop >= 0 && drop <= 1 ? "" : "'" + text + "' is not from 0 to 1";
      });
  add_rare("--precisionConstraints", flags->precision_constraints, "KIND",
           "obey: below float32 even if it is slower; default none")
      ->check(CLI::IsMember({"none", "obey"}).description(""));
  add_rare("--labels", flags->labels, "FILE", "0 or 1 a sample, where the samples have none");
  add_rare("--label-column", flags->label_column, "NAME", "of the samples; default label");
  add_rare("--observer", flags->observer, "NAME",
           "finds the ranges: auto (the default), entropy, minmax, mse, percentile-99.9, …");
  add_rare("--saveCalib", flags->calibration_cache, "FILE", "keep the ranges, as TensorRT does");
  add_rare("--score", flags->score, "OUTPUT", "its last column is the score; default the last");
  add_rare("--report", flags->report, "FILE.html", "accuracy and what was kept in float32");
  app.add_flag("--allow-nan", flags->allow_nan, "samples may lack values")->group(kRareOptions);
  app.add_option("--disable-pass", flags->disabled_passes, "leave a pass out; may be repeated")
      ->group(kRareOptions)
      ->type_name("NAME")
      ->take_all()
      ->check(CLI::IsMember(std::move(passes)).description(""));
  app.add_option("--backend", flags->backend, "compute on this backend alone")
      ->group(kRareOptions)
      ->type_name("NAME")
      ->check(CLI::IsMember(std::move(backends)).description(""));
  add_rare("--timingCacheFile", flags->timing_cache, "FILE", "measured times, kept between builds");
  app.add_flag("--errorOnTimingCacheMiss", flags->error_on_timing_cache_miss,
               "measure nothing: what the cache lacks is an error")
      ->group(kRareOptions);
  AddHelpAll(app, "the other flags too: calibration, timing cache, …");
  app.add_flag("--verbose", flags->verbose, "show passes, tactics and why others declined");
  return [flags] { return Build(*flags); };
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
