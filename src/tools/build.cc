#include <chrono>
#include <cstdio>
#include <memory>
#include <set>

#include "backends/registry.h"
#include "base/terminal_text.h"
#include "compile/pipeline.h"
#include "tools/model_file.h"
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
  bool verbose = false;
};

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

Status Build(const Flags& flags) {
  const auto start = std::chrono::steady_clock::now();
  VERDICT_ASSIGN_OR_RETURN(const CompileOptions options, OptionsOf(flags));
  VERDICT_ASSIGN_OR_RETURN(
      const auto target,
      CheckTarget("--saveEngine", flags.engine,
                  {{"the model", flags.onnx}, {"the timing cache", options.timing_cache}}));
  VERDICT_ASSIGN_OR_RETURN(ImportedModel model, ImportOnnx(flags.onnx));
  if (flags.verbose) {
    std::printf("imported %s: %zu nodes\ntactics:\n", flags.onnx.c_str(), model.graph.nodes.size());
  }
  VERDICT_ASSIGN_OR_RETURN(const CompileResult compiled,
                           CompileImported(std::move(model), flags.onnx, options));
  if (flags.verbose) PrintPasses(compiled.passes);
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
  app.add_option("--disable-pass", flags->disabled_passes, "leave a pass out; may be repeated")
      ->type_name("NAME")
      ->take_all()
      ->check(CLI::IsMember(std::move(passes)).description(""));
  app.add_option("--backend", flags->backend, "compute on this backend alone")
      ->type_name("NAME")
      ->check(CLI::IsMember(std::move(backends)).description(""));
  app.add_option("--timingCacheFile", flags->timing_cache, "measured times, kept between builds")
      ->type_name("FILE");
  app.add_flag("--errorOnTimingCacheMiss", flags->error_on_timing_cache_miss,
               "measure nothing: what the cache lacks is an error");
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
