#include "tools/build_flags.h"

#include <cstdio>
#include <cstdlib>
#include <set>

#include "backends/device/device_plugin.h"
#include "backends/registry.h"
#include "base/terminal_text.h"
#include "compile/pipeline.h"
#include "quant/calibration_cache.h"
#include "tools/help_all.h"
#include "tools/model_file.h"
#include "tools/target_file.h"
#include "tune/timing_cache.h"

namespace verdict {
namespace {

bool IsOurBackend(const std::string& name) {
  for (const Backend* backend : AllBackends()) {
    if (name == backend->name) return true;
  }
  return false;
}

/// Ours, one of a plugin that is there, or the one that people may have yet to install.
std::string CheckBackend(const std::string& name, const DeviceChoice& device) {
  if (IsOurBackend(name) || name == "tensorrt") return "";
  for (const auto& folder : PluginFolders(device.plugin_folder)) {
    std::error_code error;
    const bool is_name = name.find('/') == std::string::npos;
    if (is_name && std::filesystem::exists(folder / ("libverdict_" + name + ".so"), error))
      return "";
  }
  std::string known;
  for (const Backend* backend : AllBackends()) known += std::string(backend->name) + ", ";
  return "there is no '" + name + "'; there are " + known + "tensorrt, and what has a plugin";
}

/// Every file that a build reads, as people call it.
std::vector<std::pair<std::string_view, std::filesystem::path>> FilesRead(const BuildFlags& flags) {
  return {{"the model", flags.onnx},
          {"the samples", flags.calibration},
          {"the labelled samples", flags.evaluation},
          {"the labels", flags.labels},
          {"the timing cache", flags.timing_cache}};
}

}  // namespace

void ChooseBackend(BuildFlags& flags) {
  if (!flags.backend.empty() && !IsOurBackend(flags.backend)) flags.device.backend = flags.backend;
}

std::vector<Precision> AllowedBy(const BuildFlags& flags) {
  std::vector<Precision> allowed;
  const bool all = flags.best && !flags.int8 && !flags.bf16 && !flags.fp16;
  if (flags.int8 || all) allowed.push_back(Precision::kInt8);
  if (flags.bf16 || all) allowed.push_back(Precision::kBFloat16);
  if (flags.fp16 || all) allowed.push_back(Precision::kFloat16);
  return allowed;
}

Status CheckTogether(const BuildFlags& flags) {
  const std::vector<Precision> allowed = AllowedBy(flags);
  if (!allowed.empty() && allowed.front() == Precision::kInt8 && flags.calibration.empty()) {
    return InvalidArgument(
        "--int8 and --best need --calib FILE: samples of the model's inputs (.npz, .csv, .jsonl), "
        "or a calibration cache");
  }
  if (const std::string given = flags.device_build.given(); !given.empty() && !flags.for_device()) {
    return InvalidArgument(given + " is for a device: --backend tensorrt");
  }
  if (flags.device_build.explicit_precision && allowed.empty()) {
    return InvalidArgument("--explicit is for --int8, --bf16, --fp16 or --best; none is given");
  }
  if (!flags.calibration_cache.empty() && flags.calibration.empty()) {
    return InvalidArgument("--saveCalib needs --calib FILE");
  }
  const std::pair<const char*, const std::string*> useless[] = {{"--calib", &flags.calibration},
                                                                {"--evaluate", &flags.evaluation},
                                                                {"--labels", &flags.labels},
                                                                {"--report", &flags.report}};
  for (const auto& [name, value] : useless) {
    // A device computes in TF32 or in an order of its own: float32 has a gate there too.
    const bool has_gate = flags.for_device() && value != &flags.calibration;
    if (allowed.empty() && !has_gate && !value->empty()) {
      return InvalidArgument(std::string(name) +
                             " is for --int8, --bf16, --fp16 or --best; none is given");
    }
  }
  return OkStatus();
}

Result<std::filesystem::path> CheckTargetOf(
    const BuildFlags& flags, const std::string& flag, const std::string& path,
    std::initializer_list<std::pair<std::string_view, std::filesystem::path>> targets) {
  auto others = FilesRead(flags);
  others.insert(others.end(), targets);
  return CheckTarget(flag, path, others);
}

Result<PrecisionOptions> PrecisionOptionsOf(const BuildFlags& flags) {
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

Result<CompileOptions> CompileOptionsOf(const BuildFlags& flags) {
  CompileOptions options;
  const auto parse = [&](const std::string& own) {
    return ParseShapes(own.empty() ? flags.shapes : own);
  };
  VERDICT_ASSIGN_OR_RETURN(options.min_shapes, parse(flags.min_shapes));
  VERDICT_ASSIGN_OR_RETURN(options.opt_shapes, parse(flags.opt_shapes));
  VERDICT_ASSIGN_OR_RETURN(options.max_shapes, parse(flags.max_shapes));
  options.disabled_passes = flags.disabled_passes;
  if (!flags.for_device()) options.backend = flags.backend;
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

void AddBuildFlags(CLI::App& app, BuildFlags& flags) {
  std::set<std::string> passes;
  for (const Pass* pass : Pipeline()) passes.emplace(pass->name);
  app.add_option("--onnx", flags.onnx, "the model")->required()->type_name("FILE");
  app.add_option("--saveEngine", flags.engine, "where the engine goes")
      ->required()
      ->type_name("FILE");
  AddShapesFlag(app, "--minShapes", flags.min_shapes, "least input shapes: x:1x30,ids:1x4");
  AddShapesFlag(app, "--optShapes", flags.opt_shapes, "shapes to be fastest at");
  AddShapesFlag(app, "--maxShapes", flags.max_shapes, "largest input shapes");
  AddShapesFlag(app, "--shapes", flags.shapes, "all three at once");
  app.add_flag("--int8", flags.int8, "quantize: four times smaller, faster");
  app.add_flag("--bf16", flags.bf16, "layers in bfloat16: twice smaller");
  app.add_flag("--fp16", flags.fp16, "layers in float16; what overflows stays in float32");
  app.add_option("--calib", flags.calibration, "samples of the inputs, or a calibration cache")
      ->type_name("FILE");
  app.add_option("--evaluate", flags.evaluation, "samples with labels to keep the ROC-AUC on")
      ->type_name("FILE");
  app.add_flag("--best", flags.best, "the fastest of these that passes, or float32");
  const auto add_rare = [&app](const char* flag, auto& value, const char* type, const char* help) {
    return app.add_option(flag, value, help)->type_name(type)->group(kRareOptions);
  };
  add_rare("--max-auc-drop", flags.max_auc_drop, "D", "default 0.001")
      ->check([](const std::string& text) {
        char* end = nullptr;
        const double drop = std::strtod(text.c_str(), &end);
        const bool is_number = !text.empty() && *end == '\0';
        return is_number && drop >= 0 && drop <= 1 ? "" : "'" + text + "' is not from 0 to 1";
      });
  add_rare("--precisionConstraints", flags.precision_constraints, "KIND",
           "obey: below float32 even if it is slower; default none")
      ->check(CLI::IsMember({"none", "obey"}).description(""));
  add_rare("--labels", flags.labels, "FILE", "0 or 1 a sample, where the samples have none");
  add_rare("--label-column", flags.label_column, "NAME", "of the samples; default label");
  add_rare("--observer", flags.observer, "NAME",
           "finds the ranges: auto (the default), entropy, minmax, mse, percentile-99.9, …");
  add_rare("--saveCalib", flags.calibration_cache, "FILE", "keep the ranges, as TensorRT does");
  add_rare("--score", flags.score, "OUTPUT", "its last column is the score; default the last");
  add_rare("--report", flags.report, "FILE.html", "accuracy and what was kept in float32");
  app.add_flag("--allow-nan", flags.allow_nan, "samples may lack values")->group(kRareOptions);
  app.add_option("--disable-pass", flags.disabled_passes, "leave a pass out; may be repeated")
      ->group(kRareOptions)
      ->type_name("NAME")
      ->take_all()
      ->check(CLI::IsMember(std::move(passes)).description(""));
  AddDeviceFlags(app, flags.device);  // first: the check below needs --pluginDir
  app.add_option("--backend", flags.backend, "cpu, reference, or a device too: tensorrt")
      ->group(kRareOptions)
      ->type_name("NAME")
      ->check([&flags](const std::string& name) { return CheckBackend(name, flags.device); });
  AddDeviceBuildFlags(app, flags.device_build);
  add_rare("--timingCacheFile", flags.timing_cache, "FILE", "measured times, kept between builds");
  app.add_flag("--errorOnTimingCacheMiss", flags.error_on_timing_cache_miss,
               "measure nothing: what the cache lacks is an error")
      ->group(kRareOptions);
  AddHelpAll(app, "the other flags too: calibration, timing cache, …");
  app.add_flag("--verbose", flags.verbose, "show passes, tactics and why others declined");
}

}  // namespace verdict
